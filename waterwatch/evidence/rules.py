"""What a bundle of evidence is made of: its names, its manifest, what is found when one is verified. No I/O."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

FORMAT: Final = "waterwatch-evidence/1"
MANIFEST, SIGNATURE, README = "manifest.json", "manifest.sig", "README.txt"
CUSTODY: Final = "custody.json"
# Why a case leaves the house; what is on record is one of these words, never a sentence.
REASONS: Final = ("authority_demand", "court", "agency_request", "internal_review")
# What photos.rules.ORIGINAL_REASONS calls the same.
ORIGINAL_REASON: Final = {"authority_demand": "authority_demand", "court": "authority_demand"}
REFERENCE: Final = re.compile(r"[A-Za-z0-9_.:+\-]{0,60}")

MAX_FILES: Final = 5_000
MAX_FILE_BYTES: Final = 256 * 1024 * 1024
MAX_BUNDLE_BYTES: Final = 2 * 1024 * 1024 * 1024 - 1  # beyond it the format of zips changes
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9.\-]{0,60}(?:/[a-z0-9][a-z0-9.\-]{0,60}){0,4}", re.IGNORECASE)


@dataclass(frozen=True)
class FileFacts:
    """One file of a bundle as its manifest names it."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds, in the order in which it lies there."""

    bundle_id: str
    incident: str
    made_at: str
    reason: str
    public_key: str
    files: tuple[FileFacts, ...]


def is_name(name: str) -> bool:
    """Whether a file may be called so in a bundle: no way out of a folder, nothing a system reads in its own way."""
    return _NAME.fullmatch(name) is not None and not any(part.endswith(".") for part in name.split("/"))


def canonical(values: Any) -> bytes:
    """JSON that is the same for the same values: sorted, indented, UTF-8, one line end at the end."""
    return (json.dumps(values, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def write_manifest(manifest: Manifest) -> bytes:
    """The bytes that are signed."""
    files = [{"name": one.name, "sha256": one.sha256, "bytes": one.size_bytes} for one in manifest.files]
    return canonical(
        {
            "format": FORMAT,
            "bundle_id": manifest.bundle_id,
            "incident": manifest.incident,
            "made_at": manifest.made_at,
            "reason": manifest.reason,
            "public_key": manifest.public_key,
            "files": files,
        }
    )


def read_manifest(written: bytes) -> Manifest:
    """What :func:`write_manifest` wrote. Raises ``ValueError`` for anything else."""
    try:
        values = json.loads(written)
        if values["format"] != FORMAT or not isinstance(values["files"], list) or len(values["files"]) > MAX_FILES:
            raise ValueError("another format")
        files = tuple(FileFacts(str(one["name"]), str(one["sha256"]), int(one["bytes"])) for one in values["files"])
        named = {name: str(values[name]) for name in ("bundle_id", "incident", "made_at", "reason", "public_key")}
    except (LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("no manifest") from None
    return Manifest(**named, files=files)


def signed_bytes(manifest: bytes) -> bytes:
    """What the signature is of: the manifest under the name of its format, so no other document has this signature."""
    return FORMAT.encode() + b"\n" + manifest


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be. ``name``: of which file; empty: of the bundle. ``other``: see the code."""

    code: str
    name: str = ""
    other: str = ""


FINDINGS: Final[Mapping[str, tuple[str, str]]] = {
    "not_a_bundle": ("不是证据包，或已损坏到无法打开", "no bundle, or broken beyond opening"),
    "too_large": ("过大，超出证据包应有的限度，未读取", "larger than any bundle is; not read"),
    "manifest_missing": ("缺少清单", "the manifest is missing"),
    "manifest_unreadable": ("清单看不懂", "the manifest cannot be read"),
    "signature_missing": ("缺少签名", "the signature is missing"),
    "signature_broken": ("签名与清单不符：清单被改动，或签名被换", "the signature is not of this manifest"),
    "key_unknown": ("签名所用的密钥不在可信密钥之内", "signed by a key that is not among the trusted ones"),
    "changed": ("内容与清单不符", "not what the manifest says"),
    "missing": ("清单中有，包内没有", "in the manifest, not in the bundle"),
    "added": ("包内有，清单中没有", "in the bundle, not in the manifest"),
    "renamed": ("被改名，原名", "renamed; it was called"),
    "doubled": ("同名文件出现多次", "there more than once"),
    "reordered": ("文件的次序与清单不符", "the files lie in another order"),
    "unsafe_name": ("名称不安全（可能写到目录之外）", "an unsafe name: it could lead out of a folder"),
    "unsafe_content": ("经过压缩或加密，不是我们写的，未读取", "packed or encrypted, not by us; not read"),
    "container": ("文件之外的字节被改动", "bytes outside the files were changed"),
    "custody_broken": ("操作记录的封印不符", "the seal of this act does not hold"),
    "custody_unreadable": ("操作记录看不懂", "the chain of custody cannot be read"),
    "unlike_record": ("原图与收到时记录的摘要不符", "not the file whose digest was recorded when it arrived"),
}


def compare(manifest: Manifest, found: Sequence[FileFacts]) -> list[Finding]:
    """What of the files differs from the manifest. ``found``: all but manifest and signature, in their order."""
    wanted, there = {one.name: one for one in manifest.files}, {one.name: one for one in found}
    missing = [one for one in manifest.files if one.name not in there]
    added = [one for one in found if one.name not in wanted]
    findings = [Finding("changed", one.name) for one in manifest.files if there.get(one.name, one) != one]
    for gone in missing:
        same = next((new for new in added if (new.sha256, new.size_bytes) == (gone.sha256, gone.size_bytes)), None)
        if same is None:
            findings.append(Finding("missing", gone.name))
        else:
            added.remove(same)
            findings.append(Finding("renamed", same.name, gone.name))
    findings += [Finding("added", one.name) for one in added]
    order = [one.name for one in found if one.name in wanted]
    if order != [one.name for one in manifest.files if one.name in there]:
        findings.append(Finding("reordered"))
    return findings


def check_custody(custody: bytes, originals: Mapping[str, str]) -> list[Finding]:
    """What of the chain of custody does not hold. ``originals``: SHA-256 of each original by its photo's id.

    Each act carries the seal before it and its own: ``seal = SHA-256(seal before ‖ act)``. Of two acts that follow each
    other in the chain, the one's seal is the other's seal before. Each original is the file whose digest the act
    ``photo.received`` recorded.
    """
    try:
        acts = json.loads(custody)["acts"]
        findings, seals, recorded = _check_acts(acts)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError):
        return [Finding("custody_unreadable", CUSTODY)]
    for number, (before, _) in seals.items():
        if number - 1 in seals and seals[number - 1][1] != before:
            findings.append(Finding("custody_broken", CUSTODY, str(number)))
    for photo_id, sha256 in originals.items():
        if recorded.get(photo_id) != sha256:
            findings.append(Finding("unlike_record", photo_id))
    return findings


def _check_acts(acts: Sequence[Mapping[str, Any]]) -> tuple[list[Finding], dict[int, tuple[str, str]], dict[str, str]]:
    findings: list[Finding] = []
    seals: dict[int, tuple[str, str]] = {}
    recorded: dict[str, str] = {}
    for one in acts:
        act, seal = json.loads(one["act"]), one["seal"]
        if act["action"] == "photo.received":
            recorded[act["subject"][1]] = act["after"]["sha256"]
        if seal is None:
            continue
        made = hashlib.sha256(bytes.fromhex(seal["before"]) + one["act"].encode()).hexdigest()
        if made != seal["hash"]:
            findings.append(Finding("custody_broken", CUSTODY, str(seal["number"])))
        seals[int(seal["number"])] = seal["before"], seal["hash"]
    return findings, seals, recorded
