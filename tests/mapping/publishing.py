"""A publisher under test: orders, runs, and what is read back from its shelf as a browser would."""

import gzip
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import text

from tests.escalation.rows import add_incident, add_report
from waterwatch.advisories.service import refresh
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.mapping import service
from waterwatch.mapping.shelf import open_shelf

EXACT = (114.3055129, 30.5928347)  # where somebody stood
PUBLIC = (114.31234, 30.60123)
CANARY = "CANARY-9b1c"


@dataclass(frozen=True)
class Clock(JobContext):
    """A context whose clock stands ``ahead`` of the machine's."""

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def later(context: JobContext, **ahead: float) -> Clock:
    """The same system some time from now."""
    return Clock(context.settings, context.sessions, context.objects, timedelta(**ahead))


def run(context: JobContext) -> dict[str, Any]:
    """Ask for a publication and make it; gives the pointer."""
    service.publish(context, order(context))
    return pointer(context)


def order(context: JobContext, topic: str = service.TOPIC_PUBLISH) -> outbox.Message:
    """One request, begun as the relay and a worker would begin it."""
    with transaction(context.sessions) as session:
        outbox.emit(session, topic, {}, now=datetime.now(UTC))
    with transaction(context.sessions) as session:
        rings = outbox.lease(session, window=100, lease_s=60, topics=[topic])
        messages = [outbox.begin(session, ring.id, ring.lease_no, lease_s=60) for ring in rings[-1:]]
    (message,) = messages
    assert message is not None
    return message


def waiting(context: JobContext, topic: str = service.TOPIC_PUBLISH) -> int:
    """How many requests are still to be served."""
    with transaction(context.sessions) as session:
        statement = "SELECT count(*) FROM outbox WHERE topic = :topic AND done_at IS NULL"
        return int(session.execute(text(statement), {"topic": topic}).scalar_one())


def read(context: JobContext, name: str) -> Any:
    """A published JSON file."""
    content = open_shelf(context.settings).read(name)
    assert content is not None, name
    return json.loads(content)


def pointer(context: JobContext) -> dict[str, Any]:
    """What is named at present."""
    return read(context, "map.json")  # type: ignore[no-any-return]


def levels(context: JobContext) -> dict[int, int]:
    """By feature id, the confirmed level, decoded as the browser decodes it."""
    coded = read(context, pointer(context)["levels"])["confirmed"]
    return {feature_id: int(rank) for rank, ids in coded.items() for feature_id in accumulate(ids)}


def incidents(context: JobContext) -> list[dict[str, Any]]:
    """Every open incident, from the tiles the index names."""
    index = read(context, pointer(context)["incidents"])
    return [feature for name in index["tiles"].values() for feature in read(context, name)["features"]]


def assert_whole(context: JobContext) -> None:
    """Everything the pointer names is there and can be decoded; the sums count what the tiles hold."""
    named = pointer(context)
    index = read(context, named["incidents"])
    assert sum(row[-1] for row in index["sums"]) == len(incidents(context))
    assert set(read(context, named["levels"])) == {"confirmed", "approaching"}
    for month, name in named["history"].items():
        assert read(context, name)["month"] == month
    shelf = open_shelf(context.settings)
    assert shelf.has(named["snapshot"])
    if "tiles" in named:
        content = shelf.read(named["tiles"])
        assert content is not None
        assert content[:7] == b"PMTiles"


def every_byte(context: JobContext) -> dict[str, bytes]:
    """Every file on the shelf, unpacked, but Leaflet."""
    folder = context.settings.publish_dir
    return {
        str(path.relative_to(folder)): gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {"vendor", "assets"} & set(path.parts)
    }


def open_one(
    context: JobContext,
    *,
    severity: int = 3,
    now: datetime | None = None,
    at: tuple[float, float] = EXACT,
    public: tuple[float, float] = PUBLIC,
    water: str = "长江",
) -> str:
    """An incident whose exact and public places differ, its level set; gives its code."""
    now = now or datetime.now(UTC)
    with transaction(context.sessions) as session:
        incident_id = add_incident(session, now=now, severity=severity, at=at, water=water)
        session.execute(
            text("UPDATE incident SET public_point = ST_SetSRID(ST_MakePoint(:lon, :lat), 4326) WHERE id = :id"),
            {"lon": public[0], "lat": public[1], "id": incident_id},
        )
        of_it = "water_feature_id = (SELECT water_feature_id FROM incident WHERE id = :id)"
        session.execute(text(f"DELETE FROM map_change WHERE is_withdrawal AND {of_it}"), {"id": incident_id})
        add_report(session, incident_id, now=now, note=CANARY, place_words=CANARY)
        row = session.execute(
            text("SELECT water_feature_id, code FROM incident WHERE id = :id"), {"id": incident_id}
        ).one()
        refresh(session, row.water_feature_id, actor=Actor.system("test"), now=now)
    return str(row.code)


def end(context: JobContext, code: str, state: str = "expired") -> None:
    """Let an incident end, or be withdrawn, its level with it."""
    with transaction(context.sessions) as session:
        feature_id = session.execute(
            text("UPDATE incident SET state = :state, closed_at = now() WHERE code = :code RETURNING water_feature_id"),
            {"state": state, "code": code},
        ).scalar_one()
        refresh(session, feature_id, actor=Actor.system("test"), now=datetime.now(UTC))
