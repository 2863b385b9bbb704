"""Which waters are borders, by which keys an area's name is found, and what a contact of each channel is made of."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.spelling import PART, keys_of_name

# What kind of area a name ends in, after the two characters at least that are the name proper.
_KIND = re.compile(r"(?<=..)(特别行政区|特別行政區|自治[区區州县縣旗]|地[区區]|林[区區]|新[区區]|[省市区區县縣盟旗])$")
SHORT = 1  # added to the grade of a key of the name without its kind
BEGINS = 10  # added where a name merely begins so


def is_border(sides: Sequence[tuple[AbstractSet[str], AbstractSet[str]]]) -> bool:
    """Whether a water parts areas for most of a stretch: (codes on the left, codes on the right) along it.

    Where one side is in nobody's area (the sea, abroad), nothing is parted.
    """
    parted = [left for left, right in sides if left and right and not left & right]
    return 2 * len(parted) > len(sides)


def area_keys(names: Iterable[str]) -> dict[str, int]:
    """Every key that finds an area of these names, with its grade, lower being better: whole, sounds, initials.

    With and without the kind it ends in (武汉市, 武汉). Unlike a water's, no parts: 山区 is no way to say 洪山区.
    """
    keys: dict[str, int] = {}
    for name in names:
        for variant, worse in ((name, 0), (_KIND.sub("", name), SHORT)):
            for key, grade in keys_of_name(variant):
                if key and grade < PART:
                    keys[key] = min(grade + worse, keys.get(key, grade + worse))
    return keys


@dataclass(frozen=True)
class NoSettings:
    """Of ``email`` and ``cap_feed``: the address says everything."""


@dataclass(frozen=True)
class WebhookSettings:
    """``takes_pictures``: whether the links of photo and map are sent along."""

    takes_pictures: bool = True


@dataclass(frozen=True)
class Open311Settings:
    """An Open311 server: which of its services each kind of observation is; the key ``other`` serves all the rest.

    ``attributes``: what is answered to questions it insists on. ``is_private``: it publishes none of its requests, so
    that it may have the exact place.
    """

    jurisdiction_id: str | None = None
    services: Mapping[str, str] = field(default_factory=dict)
    form: Literal["json", "xml"] = "xml"
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_private: bool = False


@dataclass(frozen=True)
class PostSettings:
    """A letter on paper: whom it names above the address."""

    addressee: str | None = None


ContactSettings = NoSettings | WebhookSettings | Open311Settings | PostSettings
_Reader = Callable[[dict[str, Any], dict[str, list[str]]], ContactSettings]
_WORD_MAX = 200
_CODE = re.compile(r"[A-Za-z0-9._:-]{1,80}")


def read_settings(channel: str, raw: Mapping[str, Any]) -> ContactSettings:
    """A contact's settings, typed. Raises :class:`Invalid` naming every fault; what nobody knows is one, too."""
    readers: dict[str, _Reader] = {"webhook": _webhook, "open311": _open311, "post": _post}
    errors: dict[str, list[str]] = {}
    left = dict(raw)
    made = readers[channel](left, errors) if channel in readers else NoSettings()
    for name in left:
        errors.setdefault(name, []).append("unknown")
    if errors:
        raise Invalid(errors)
    return made


def address_faults(channel: str, address: str) -> list[str]:
    """Stable codes for what is wrong with a contact's address, besides that it is no mail address (see messaging)."""
    if not address.strip():
        return ["required"]
    if channel in ("webhook", "open311"):
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            return ["not_a_url"]
        is_plain = address.isascii() and address.isprintable() and " " not in address and len(address) <= 2000
        if not is_plain or parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
            return ["not_a_url"]
        if parts.username is not None or parts.password is not None or parts.fragment:
            return ["not_a_url"]
    return ["too_long"] if len(address) > 2000 else []


_PORTS = {"https": 443, "http": 80}


def is_same_host(channel: str, before: str, after: str) -> bool:
    """Whether two addresses of a contact are one server's, by scheme, host and port: what is secret before one is no
    secret of the other's. Of channels without a server they always are. Addresses are such as have no faults.
    """
    if channel not in ("webhook", "open311"):
        return True
    one, other = ((p.scheme, p.hostname, p.port or _PORTS.get(p.scheme)) for p in map(urlsplit, (before, after)))
    return one == other


def _webhook(left: dict[str, Any], errors: dict[str, list[str]]) -> WebhookSettings:
    takes = left.pop("takes_pictures", True)
    if not isinstance(takes, bool):
        errors["takes_pictures"] = ["not_a_choice"]
    return WebhookSettings(takes is True)


def _open311(left: dict[str, Any], errors: dict[str, list[str]]) -> Open311Settings:
    jurisdiction, services = left.pop("jurisdiction_id", None), left.pop("services", {})
    form, attributes = left.pop("form", "xml"), left.pop("attributes", {})
    is_private = left.pop("is_private", False)
    if jurisdiction is not None and not (isinstance(jurisdiction, str) and 0 < len(jurisdiction) <= _WORD_MAX):
        errors["jurisdiction_id"] = ["not_a_word"]
    if not isinstance(services, dict) or not all(
        isinstance(code, str) and _CODE.fullmatch(code) and _CODE.fullmatch(kind) for kind, code in services.items()
    ):
        errors["services"] = ["not_a_mapping"]
    if not isinstance(attributes, dict) or not all(
        isinstance(answer, str) and len(answer) <= _WORD_MAX and _CODE.fullmatch(code)
        for code, answer in attributes.items()
    ):
        errors["attributes"] = ["not_a_mapping"]
    if form not in ("json", "xml"):
        errors["form"] = ["not_a_choice"]
    if not isinstance(is_private, bool):
        errors["is_private"] = ["not_a_choice"]
    if errors:
        return Open311Settings()
    return Open311Settings(jurisdiction, services, form, attributes, is_private)


def _post(left: dict[str, Any], errors: dict[str, list[str]]) -> PostSettings:
    addressee = left.pop("addressee", None)
    if addressee is not None and not (isinstance(addressee, str) and 0 < len(addressee) <= _WORD_MAX):
        errors["addressee"] = ["not_a_word"]
    return PostSettings() if errors else PostSettings(addressee)
