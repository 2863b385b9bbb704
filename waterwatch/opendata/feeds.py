"""Atom feeds with GeoRSS points; the only importer of ``feedgenerator``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from feedgenerator import Atom1Feed
from markupsafe import escape

from waterwatch.atlas.rules import DECIMALS

MEDIA_TYPE = "application/atom+xml; charset=utf-8"
# What XML 1.0 cannot hold, however it is written.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True)
class Entry:
    """One entry in words; ``place`` is (lon, lat) in WGS-84 degrees: a public point, unless the feed is private."""

    url: str
    title: str
    summary: str
    published_at: datetime
    updated_at: datetime
    place: tuple[float, float] | None
    kind: str


@dataclass(frozen=True)
class Feed:
    """A feed: what it is called, the page it belongs to, its own address, its language."""

    title: str
    page_url: str
    feed_url: str
    subtitle: str
    language: str


class GeoAtom(Atom1Feed):  # type: ignore[misc]  # the library is untyped
    """Atom (RFC 4287) with a GeoRSS Simple point an entry (OGC 17-002r1: latitude before longitude)."""

    def root_attributes(self) -> dict[str, str]:
        """The namespaces."""
        return {**super().root_attributes(), "xmlns:georss": "http://www.georss.org/georss"}

    def add_item_elements(self, handler: Any, item: dict[str, Any]) -> None:
        """The entry, then where it is."""
        super().add_item_elements(handler, item)
        if item["place"] is not None:
            lon, lat = item["place"]
            handler.addQuickElement("georss:point", f"{lat:.{DECIMALS}f} {lon:.{DECIMALS}f}")


def write_feed(feed: Feed, entries: Sequence[Entry]) -> str:
    """The feed as XML. A summary is HTML to its readers, so what stands in it is escaped twice."""
    atom = GeoAtom(
        title=writable(feed.title),
        link=feed.page_url,
        description=writable(feed.subtitle),
        language=feed.language,
        feed_url=feed.feed_url,
        feed_guid=feed.feed_url,
        author_name="江湖網·预警图",
    )
    for entry in entries:
        atom.add_item(
            title=writable(entry.title),
            link=entry.url,
            description=str(escape(writable(entry.summary))),
            unique_id=entry.url,
            pubdate=entry.published_at,
            updateddate=entry.updated_at,
            categories=[entry.kind],
            place=entry.place,
        )
    return str(atom.writeString("utf-8"))


def writable(words: str) -> str:
    """Without the characters XML cannot hold."""
    return _UNWRITABLE.sub("", words)
