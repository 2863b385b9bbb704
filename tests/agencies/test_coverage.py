"""Where nobody would be told: the same as asking county by county, in one statement."""

import random
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.waters.database import Statements
from waterwatch.agencies import registry
from waterwatch.agencies.coverage import (
    NOBODY,
    SEVERITIES,
    TOLD,
    UNREACHABLE,
    Cell,
    by_province,
    coverage,
    coverage_by_province,
    sheet_rows,
    waters_in,
)
from waterwatch.agencies.queries import competent_agencies
from waterwatch.agencies.tables import OBSERVATION_KINDS


def test_every_cell_says_what_routing_says_there(session: Session) -> None:
    """Sixty counties at random, with a country made uneven: bars raised, contacts lost, departments gone."""
    session.execute(text("UPDATE competence SET min_severity = 3 WHERE hashtext(id::text) % 3 = 0"))
    session.execute(text("UPDATE agency_contact SET active = false WHERE hashtext(id::text) % 3 = 0"))
    session.execute(text("UPDATE agency SET retired_at = now() WHERE hashtext(id::text) % 5 = 0"))
    counties = coverage(session)
    choose = random.Random(7)
    outcomes = set()
    uneven = [one for one in counties if len({cell.outcomes for cell in one.cells}) > 1]
    for county in [*choose.sample(counties, 20), *choose.sample(uneven, 40)]:
        # Beside a border one place may lie in two counties, whose pieces are simplified.
        at = session.execute(
            text("""SELECT ST_X(at) AS lon, ST_Y(at) AS lat FROM (
                        SELECT (ST_MaximumInscribedCircle(geom)).center AS at
                        FROM jurisdiction WHERE id = :id) place"""),
            {"id": county.county_id},
        ).one()
        for kind, cell in zip(OBSERVATION_KINDS, county.cells, strict=True):
            for severity in SEVERITIES:
                found = competent_agencies(session, at.lon, at.lat, kind, severity)
                expected = TOLD if any(one.ways for one in found) else UNREACHABLE if found else NOBODY
                assert cell.outcomes[severity - 1] == expected, (county.code, kind, severity)
                outcomes.add(expected)
    assert outcomes == {NOBODY, UNREACHABLE, TOLD}


def test_the_whole_country_is_one_statement_and_the_built_in_one_lacks_little(session: Session) -> None:
    with Statements(session) as sent:
        counties = coverage(session)
    assert len(sent) == 1
    assert len(counties) > 2800
    lacking = {county.code for county in counties if county.lacking}
    assert {code[:2] for code in lacking} <= {"71", "81", "82"}  # no departments are listed there
    wuchang = next(county for county in counties if county.code == "420106")
    assert (wuchang.names, wuchang.lacking) == (("武昌区", "武汉市", "湖北省"), ())


def test_who_has_no_contact_covers_nothing(session: Session, now: datetime) -> None:
    session.execute(
        text("""UPDATE agency_contact SET active = false
                WHERE agency_id IN (SELECT id FROM agency WHERE code IN ('wuhan-06-ecology'))""")
    )
    (county,) = coverage(session, code="420106")
    foam = county.cells[OBSERVATION_KINDS.index("foam")]
    assert (foam.outcomes, foam.told_from) == ((UNREACHABLE,) * 4, None)
    assert county.cells[OBSERVATION_KINDS.index("sewage_outfall")].worst == TOLD  # the water bureau gets it


def test_from_which_severity_on_somebody_is_told() -> None:
    assert Cell((TOLD, TOLD, TOLD, TOLD)).told_from == 1
    assert Cell((NOBODY, UNREACHABLE, TOLD, TOLD)).told_from == 3
    assert Cell((TOLD, TOLD, TOLD, UNREACHABLE)).told_from is None


def test_province_by_province_it_is_the_same_and_progress_is_told(session: Session) -> None:
    told: list[tuple[int, int]] = []
    pieces = list(coverage_by_province(session, progress=lambda done, of: told.append((done, of))))
    assert [county for piece in pieces for county in piece] == coverage(session)
    assert told == [(nth + 1, len(pieces)) for nth in range(len(pieces))]
    taiwan = next(one for one in by_province(pieces[-1]) if one.lacking)
    assert taiwan.lacking == taiwan.counties == taiwan.by_kind[0]


def test_the_sheet_has_a_row_a_county_and_no_formulas(session: Session) -> None:
    counties = coverage(session, prefix="42")
    assert waters_in(session, ["420106"]) == {"420106": []}  # no waters are loaded here
    header, first, *_rest = sheet_rows(counties, {counties[0].code: [("w-x", "=SUM(A1)")]})
    assert header == ("code", "county", "above", *OBSERVATION_KINDS, "waters")
    assert first[0] == counties[0].code
    assert first[3:] == (*["1"] * 13, "'=SUM(A1)")


def test_an_agency_that_is_looked_for_is_found_by_name_code_kind_and_area(session: Session) -> None:
    def codes(**sought: str) -> list[str]:
        return [one.code for one in registry.agencies_found(session, registry.Sought(**sought))]

    assert codes(words="武昌") == ["wuhan-06-ecology", "wuhan-06-urban", "wuchang-water"]
    assert codes(words="wuchang-w") == ["wuchang-water"]
    assert codes(kind="agriculture") == ["wuhan-agriculture"]
    assert len(codes(area_code="420100", kind="water")) == 14
    assert codes(area_code="999999") == []
    tops = registry.top_agencies(session, limit=500)
    assert {one.code for one in tops} >= {"11-ecology", "wuhan-agriculture"}
    assert "wuhan-ecology" not in {one.code for one in tops}
