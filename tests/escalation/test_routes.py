"""Who is told: both banks, the basin's authority, river chiefs; in one indexed statement, the same as step by step."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from tests.waters.database import Statements, loaded_engine, plan_of, rollback_session
from waterwatch.agencies import service as agencies
from waterwatch.agencies.queries import CompetentAgency, Way, competent_agencies, opposite_banks
from waterwatch.agencies.tables import OBSERVATION_KINDS
from waterwatch.escalation.routing import ChiefTold, Route, Spot, assign, route
from waterwatch.kernel.ids import new_id
from waterwatch.waters import service as waters
from waterwatch.waters.queries import banks_along, nearest_waters

BRIDGE = (114.288, 30.549)  # 武汉长江大桥: 汉阳 on the left bank, 武昌 on the right
SOUTH_LAKE = (114.36, 30.42)  # 汤逊湖


@pytest.fixture(scope="module")
def engine(admin_url: str, template_database: str) -> Iterator[Engine]:
    """A clone that holds the built-in waters, areas, agencies and rules."""

    def load(session: Session, *, now: datetime) -> Any:
        waters.load_builtin(session, now=now)
        agencies.load_builtin(session, now=now)

    yield from loaded_engine(admin_url, template_database, load)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session on it."""
    yield from rollback_session(engine)


def spot_at(session: Session, place: tuple[float, float], kind: str = "sewage_outfall", severity: int = 2) -> Spot:
    """An observation on the nearest water of a place."""
    water = nearest_waters(session, *place, 1500, search_limit_m=5000)[0]
    return Spot(*place, kind, severity, water.water_feature_id, water.snapped_lon, water.snapped_lat)


def add_chief(session: Session, spot: Spot, area: str, email: str | None, *, of_reach: bool, title: str) -> None:
    """A river chief of the spot's water, or of its reach, in an area."""
    session.execute(
        text("""INSERT INTO river_chief (id, water_body_id, water_feature_id, jurisdiction_id, title, email)
                SELECT gen_random_uuid(), f.water_body_id, CASE WHEN :of_reach THEN f.id END, j.id, :title, :email
                FROM water_feature f, jurisdiction j WHERE f.id = :id AND j.code = :area"""),
        {"id": spot.water_feature_id, "area": area, "title": title, "email": email, "of_reach": of_reach},
    )


def test_the_one_statement_says_what_the_steps_say(session: Session) -> None:
    """Along every fourth built-in reach: banks looked at one by one, borders judged in Python, agencies asked then."""
    reaches = session.execute(
        text("""SELECT id, ST_X(at) AS lon, ST_Y(at) AS lat FROM (
                    SELECT id, ST_LineInterpolatePoint((ST_Dump(geom)).geom, (feature_id % 7) / 7.0) AS at
                    FROM water_feature WHERE kind = 'reach' AND feature_id % 4 = 0) places""")
    ).all()
    borders = 0
    for nth, reach in enumerate(reaches):
        kind, severity = OBSERVATION_KINDS[nth % len(OBSERVATION_KINDS)], 1 + nth % 4
        banks = banks_along(session, reach.id, reach.lon, reach.lat)
        also = opposite_banks(session, [(pair.left, pair.right) for pair in banks])
        expected = competent_agencies(session, reach.lon, reach.lat, kind, severity, also=also)
        found = route(session, Spot(reach.lon, reach.lat, kind, severity, reach.id, reach.lon, reach.lat))
        assert (list(found.agencies), found.is_border) == (expected, bool(also)), reach
        borders += bool(also)
    assert len(reaches) > 400
    assert borders > 20


def test_routing_is_one_statement_that_reads_no_table_through(session: Session) -> None:
    """On a border, too. Small tables are read through by choice: here PostgreSQL is told to avoid it where it can."""
    spot = spot_at(session, BRIDGE)
    session.execute(text("SET LOCAL enable_seqscan = off"))
    with Statements(session) as sent:
        found = route(session, spot)
    assert found.is_border
    assert len(sent) == 1
    plan = plan_of(session, sent)
    assert "Seq Scan" not in plan
    for index in ("ix_jurisdiction_part_geom", "uq_competence_agency_kind", "uq_agency_contact", "ix_river_chief"):
        assert index in plan, plan


def test_its_plan_is_kept_whatever_is_asked(session: Session) -> None:
    """Planning takes many times what the question does, so PostgreSQL must not think it pays to plan anew."""
    for nth in range(20):
        place = (BRIDGE[0] + nth / 500, BRIDGE[1])
        route(session, spot_at(session, place, OBSERVATION_KINDS[nth % 13], 1 + nth % 4))
    kept = session.execute(
        text("SELECT generic_plans FROM pg_prepared_statements WHERE statement LIKE '%one_county%'")
    ).scalar_one()
    assert kept >= 8


def test_on_a_lake_and_on_no_water_there_are_no_banks(session: Session) -> None:
    lake = spot_at(session, SOUTH_LAKE)
    assert [one.code for one in route(session, lake).agencies] == ["wuhan-15-ecology", "wuhan-15-water"]
    nowhere = Spot(*SOUTH_LAKE, "foam", 1, None, *SOUTH_LAKE)
    assert [one.code for one in route(session, nowhere).agencies] == ["wuhan-15-ecology"]
    assert route(session, Spot(135.0, 30.0, "foam", 4, None, 135.0, 30.0)) == Route((), (), is_border=False)


def test_a_chiefs_letter_is_the_offices_of_the_same_area(session: Session) -> None:
    spot = spot_at(session, BRIDGE)
    add_chief(session, spot, "420106", "wuchang@chief.example", of_reach=True, title="区级河长")
    add_chief(session, spot, "420105", "hanyang@chief.example", of_reach=False, title="区级河长")
    add_chief(session, spot, "420100", "city@chief.example", of_reach=False, title="市级河长")
    add_chief(session, spot, "420106", None, of_reach=False, title="区级总河长")
    add_chief(session, spot, "420111", "hongshan@chief.example", of_reach=False, title="区级河长")
    found = route(session, spot)
    assert {one.code: [way.address for way in one.ways if way.contact_id is None] for one in found.agencies} == {
        "wuhan-05-ecology": [],
        "wuhan-05-water": ["hanyang@chief.example"],
        "wuhan-06-ecology": [],
        "wuchang-water": ["wuchang@chief.example"],
    }
    # Nobody of the city's own is told here, so its chief stays without a letter: the districts' are not his office.
    assert {chief.address: office is not None for chief, office in found.chiefs} == {
        "wuchang@chief.example": True,
        "hanyang@chief.example": True,
        "city@chief.example": False,
    }


def test_a_chief_of_an_area_without_an_office_is_told_by_the_one_above(session: Session) -> None:
    spot = spot_at(session, BRIDGE)
    session.execute(text("UPDATE agency SET retired_at = now() WHERE code IN ('wuchang-water', 'wuhan-06-ecology')"))
    add_chief(session, spot, "420106", "wuchang@chief.example", of_reach=True, title="区级河长")
    found = {one.code: one.addresses for one in route(session, spot).agencies}
    assert found["wuhan-water"] == ("wuhan-water@agency.example", "wuchang@chief.example")


def test_the_basins_authority_is_told_beside_the_local_offices(session: Session) -> None:
    spot = spot_at(session, BRIDGE, severity=3)
    local = [one.code for one in route(session, spot).agencies]
    session.execute(
        text("""WITH area AS (
                    INSERT INTO jurisdiction (id, code, level, geom)
                    VALUES (gen_random_uuid(), 'basin-yangtze', 'basin',
                            ST_Multi(ST_MakeEnvelope(90, 25, 122, 35, 4326))) RETURNING id)
                INSERT INTO agency (id, code, kind, level, jurisdiction_id)
                SELECT gen_random_uuid(), 'cjw', 'basin_authority', 'basin', id FROM area""")
    )
    agencies.compile_everything(session)
    assert [one.code for one in route(session, spot).agencies] == ["cjw", *local]
    mild = spot_at(session, BRIDGE, severity=2)  # as the rules that come with the program have it
    assert [one.code for one in route(session, mild).agencies] == local


IDS = [new_id() for _ in range(4)]
ADDRESSES = st.sampled_from(["a@x.example", "b@x.example", "c@x.example"])
AGENCIES = st.lists(
    st.builds(
        CompetentAgency,
        st.uuids(),
        st.sampled_from(["m", "n"]),
        st.sampled_from(["water", "river_chief_office", "maritime"]),
        st.just("county"),
        st.sampled_from(IDS),
        st.lists(
            st.builds(Way, st.uuids(), st.just("email"), ADDRESSES), max_size=2, unique_by=lambda w: w.address
        ).map(tuple),
    ),
    max_size=4,
    unique_by=lambda one: one.agency_id,
)
CHIEFS = st.lists(
    st.builds(
        ChiefTold,
        st.uuids(),
        st.just("河长"),
        ADDRESSES,
        st.booleans(),
        st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True).map(tuple),
    ),
    max_size=5,
)


@given(AGENCIES, CHIEFS)
def test_no_chief_is_written_to_twice_and_every_agency_keeps_its_own(
    able: Sequence[CompetentAgency], chiefs: Sequence[ChiefTold]
) -> None:
    found = assign(able, chiefs, is_border=False)
    by_id: dict[uuid.UUID, CompetentAgency] = {one.agency_id: one for one in found.agencies}
    added = [way.address for one in found.agencies for way in one.ways if way.contact_id is None]
    assert len(added) == len(set(added))
    for before in able:
        after = by_id[before.agency_id].ways
        assert after[: len(before.ways)] == before.ways
        assert len({way.address for way in after}) == len(after)
    for chief, office in found.chiefs:
        reachable = any(one.area_id in chief.areas for one in able)
        assert (office is not None) == reachable
        if office is not None:
            assert any(chief.address in {way.address for way in one.ways} for one in found.agencies)
