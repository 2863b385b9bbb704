"""Loading the built-in agencies: repeatable, whole, with a way up for every county, and no address that exists."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.agencies import service
from waterwatch.agencies.service import load_builtin

TABLES = ("jurisdiction", "jurisdiction_name", "agency", "agency_name", "competence", "agency_contact")


def test_the_load_says_how_much_there_is(session: Session, now: datetime) -> None:
    report = load_builtin(session, now=now)
    counted = text("SELECT (SELECT count(*) FROM jurisdiction), (SELECT count(*) FROM agency)")
    assert session.execute(counted).one() == (report.jurisdictions, report.agencies)
    assert report.jurisdictions > 3200


def test_loading_again_leaves_identical_rows(session: Session, now: datetime) -> None:
    def everything() -> list[str]:
        results = [session.execute(text(f"SELECT t::text FROM {table} t ORDER BY 1")).scalars() for table in TABLES]
        return [row for result in results for row in result]

    before = everything()
    load_builtin(session, now=now)
    assert everything() == before


def test_an_operators_own_contact_survives_a_load(session: Session, now: datetime) -> None:
    change = text("UPDATE agency_contact SET active = false WHERE address = 'wuhan-water@agency.example'")
    session.execute(change)
    load_builtin(session, now=now)
    found = text("SELECT active FROM agency_contact WHERE address = 'wuhan-water@agency.example'")
    assert session.execute(found).scalar_one() is False


def test_progress_is_told_in_whole_steps(session: Session, now: datetime) -> None:
    told: list[tuple[int, int]] = []
    load_builtin(session, now=now, progress=lambda done, total: told.append((done, total)))
    assert told == [(step, service.STEPS) for step in range(1, service.STEPS + 1)]


def test_no_demonstration_letter_can_reach_anybody(session: Session) -> None:
    addresses = session.execute(text("SELECT address FROM agency_contact")).scalars().all()
    assert addresses
    assert all(address.endswith("@agency.example") for address in addresses)  # RFC 2606


def test_every_agency_below_a_province_has_one_of_its_kind_above_it(session: Session) -> None:
    orphans = text("""
        SELECT a.code FROM agency a LEFT JOIN agency p ON p.id = a.parent_id
        WHERE a.level = 'county' AND (p.id IS NULL OR p.kind <> a.kind OR p.level NOT IN ('prefecture', 'province'))
           OR a.level = 'prefecture' AND a.kind = 'ecology_environment' AND p.level IS DISTINCT FROM 'province'
    """)
    assert session.execute(orphans).scalars().all() == []


def test_every_agency_is_named_in_three_languages_and_lies_at_its_jurisdictions_level(session: Session) -> None:
    faults = text("""
        SELECT a.code FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id
        WHERE j.level <> a.level OR (SELECT count(*) FROM agency_name n WHERE n.agency_id = a.id) <> 3
    """)
    assert session.execute(faults).scalars().all() == []


def test_every_county_knows_its_province(session: Session) -> None:
    lost = text("""
        SELECT j.code FROM jurisdiction j LEFT JOIN jurisdiction p ON p.id = j.parent_id
        WHERE j.level <> 'province' AND (p.id IS NULL OR left(p.code, 2) <> left(j.code, 2))
    """)
    assert session.execute(lost).scalars().all() == []
