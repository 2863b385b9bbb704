"""Rivers that flow east past the test place, reach after reach, as forecasts need them."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.orm import Session

from tests.escalation.rows import insert
from tests.reports.rows import LAT, LON
from waterwatch.flow.queries import read_arms, read_rows
from waterwatch.flow.rules import Network, build
from waterwatch.kernel.ids import new_id

STEP_DEG = 0.05


@dataclass(frozen=True)
class River:
    """Its reaches from the source to the mouth: row ids, the stable integers, and the body they make."""

    body_id: uuid.UUID
    ids: tuple[uuid.UUID, ...]
    feature_ids: tuple[int, ...]


def add_chain(
    session: Session,
    count: int,
    *,
    km: float = 10.0,
    upland_skm: float | None = 2000.0,
    dis_av_cms: float | None = 30.0,
    name: str = "试河",
    lon: float = LON,
    lat: float = LAT,
    lakes: Sequence[int] = (),
    is_reservoir: bool = False,
) -> River:
    """A river of ``count`` reaches of ``km`` each; the numbers ``lakes`` of them lie in a lake (0 is the first).

    The first begins at the test place.
    """
    source_id = insert(session, "source", code=f"source-{new_id()}", title="tests", licence="CC0")

    def facts() -> dict[str, object]:
        return {"source_id": source_id, "source_key": str(new_id())}

    body_id = insert(session, "water_body", public_id=f"w-{new_id()}", kind="river", rank=1, **facts())
    insert(session, "water_name", id=new_id(), water_body_id=body_id, lang="zh-Hans", name=name, is_primary=True)
    ids: list[uuid.UUID] = []
    for nth in reversed(range(count)):
        begin = lon + nth * STEP_DEG
        lake_id = _add_lake(session, begin, lat, facts(), is_reservoir=is_reservoir) if nth in lakes else None
        reach = insert(
            session, "water_feature", kind="reach", water_body_id=body_id, length_km=km, upland_skm=upland_skm,
            dis_av_cms=dis_av_cms, ord_stra=3, next_down_id=ids[-1] if ids else None, lake_id=lake_id,
            geom=f"LINESTRING({begin} {lat}, {begin + STEP_DEG} {lat})", **facts(),
        )  # fmt: skip
        ids.append(reach)
    ids.reverse()
    rows = session.execute(text("SELECT id, feature_id FROM water_feature WHERE id = ANY(:ids)"), {"ids": ids})
    numbers = {row.id: row.feature_id for row in rows}
    return River(body_id, tuple(ids), tuple(numbers[one] for one in ids))


def _add_lake(session: Session, lon: float, lat: float, facts: dict[str, object], *, is_reservoir: bool) -> uuid.UUID:
    kind = "reservoir" if is_reservoir else "lake"
    more = facts | {"source_key": str(new_id())}
    body_id = insert(session, "water_body", public_id=f"w-{new_id()}", kind=kind, rank=1, **more)
    insert(session, "water_name", id=new_id(), water_body_id=body_id, lang="zh-Hans", name="试湖", is_primary=True)
    west, east, south, north = lon, lon + STEP_DEG, lat - 0.01, lat + 0.01
    outline = f"POLYGON(({west} {south}, {east} {south}, {east} {north}, {west} {north}, {west} {south}))"
    return insert(session, "water_feature", kind="lake", water_body_id=body_id, geom=outline, **facts)


def network_of(session: Session) -> Network:
    """The network as this transaction sees it."""
    session.flush()
    return build(read_rows(session), read_arms(session))


@contextmanager
def statements(session: Session) -> Iterator[list[str]]:
    """What is sent to the database meanwhile, except for savepoints."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(" ".join(statement.split()))

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
