"""How long it takes to find out who is told of an incident, beside ``SELECT 1`` on the same connection.

A private PostgreSQL with 3,000 counties in 30 provinces, some 40,000 reaches, and 3,000 agencies; then the same with
30,000. Rules decide, among them some hundreds for single counties; every reach has a river chief with an address.
Incidents lie on random reaches. Question by question in turn: SELECT 1, then routing, as escalation does it.

    python -m bench.routing [--asked 400] [--rounds 5]
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from bench import country
from bench.waters import Goal, _engine, _percentile, _postgres, _ratio, _run_import, _timed

COUNTIES, REACHES = 3_000, 40_000
COUNTY_KINDS = ("ecology_environment", "water", "urban_management", "agriculture", "maritime", "river_chief_office")
AGENCIES = text("""
INSERT INTO agency (id, code, kind, level, jurisdiction_id)
SELECT gen_random_uuid(), 'bench-' || :size || '-' || n, kinds.of[1 + (n / :counties) % cardinality(kinds.of)],
       'county', j.id
FROM (SELECT CAST(:kinds AS text[]) AS of) kinds, generate_series(0, :size - 1) n
JOIN (SELECT id, row_number() OVER (ORDER BY code) - 1 AS nth FROM jurisdiction WHERE level = 'county') j
    ON j.nth = n % :counties
""")
CONTACTS = text("""
INSERT INTO agency_contact (id, agency_id, channel, address, position)
SELECT gen_random_uuid(), a.id, 'email', a.code || '@bench.example', 1 FROM agency a
WHERE NOT EXISTS (SELECT FROM agency_contact k WHERE k.agency_id = a.id)
""")
CHIEFS = text("""
INSERT INTO river_chief (id, water_body_id, water_feature_id, jurisdiction_id, title, email)
SELECT gen_random_uuid(), f.water_body_id, f.id, j.id, '河长', 'chief-' || f.feature_id || '@bench.example'
FROM water_feature f JOIN LATERAL (
    SELECT part.jurisdiction_id AS id FROM jurisdiction_part part JOIN jurisdiction c ON c.id = part.jurisdiction_id
    WHERE c.level = 'county' AND ST_Intersects(part.geom, ST_StartPoint(ST_GeometryN(f.geom, 1))) LIMIT 1) j ON true
""")
PLACES = text("""
SELECT f.id, ST_X(at) AS lon, ST_Y(at) AS lat
FROM (SELECT id, ST_LineInterpolatePoint(ST_GeometryN(geom, 1), random()) AS at FROM water_feature
      WHERE kind = 'reach' ORDER BY md5(feature_id::text) LIMIT :count) f
""")


def main() -> None:
    """Make the country, ask with 3,000 agencies, then with 30,000."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asked", type=int, default=400, help="incidents a round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    with tempfile.TemporaryDirectory(prefix="waterwatch-bench-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        with _postgres(folder) as url:
            _fill(url, folder)
            for size in (3_000, 30_000):
                _agencies(url, size)
                _measure(url, asked)
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


def _fill(url: str, folder: Path) -> None:
    from waterwatch.kernel import migrate

    migrate.upgrade(url)
    reaches = country.make_reaches(REACHES)
    country.write_reaches(folder / "reaches.shp", reaches, country.shapes_of(reaches))
    country.write_areas(folder / "areas.gpkg", country.make_counties(COUNTIES))
    for what, file in (("reaches", "reaches.shp"), ("areas", "areas.gpkg")):
        told = _run_import(url, what, folder / file)
        print(f"{what}: {told['rows']:,.0f} rows in {told['seconds']:.0f} s")


def _agencies(url: str, size: int) -> None:
    """So many agencies in all, a chief for each reach, the program's rules and some for single counties."""
    from waterwatch.agencies import competence
    from waterwatch.agencies.service import DEFAULT_RULES
    from waterwatch.agencies.tables import CompetenceRule
    from waterwatch.kernel.ids import new_id

    engine = _engine(url)
    with Session(engine) as session, session.begin():
        session.execute(text("SET LOCAL statement_timeout = 0"))
        there = session.execute(text("SELECT count(*) FROM agency")).scalar_one()
        values = {"size": size - there, "counties": COUNTIES, "kinds": list(COUNTY_KINDS)}
        session.execute(AGENCIES, values)
        session.execute(CONTACTS)
        if there == 0:
            chiefs: Any = session.execute(CHIEFS)
            codes = session.execute(text("SELECT id FROM jurisdiction WHERE level = 'county' ORDER BY code")).scalars()
            rules = [
                (None, kind, observation, rank, True)
                for kind, told in DEFAULT_RULES.items()
                for observation, rank in told
            ]
            for nth, area in enumerate(list(codes)[::10]):
                rules.append((area, COUNTY_KINDS[nth % 6], "foam", 1 + nth % 4, nth % 3 > 0))
            for area, kind, observation, rank, is_competent in rules:
                session.add(
                    CompetenceRule(
                        id=new_id(),
                        jurisdiction_id=area,
                        agency_kind=kind,
                        observation_kind=observation,
                        min_severity=rank,
                        is_competent=is_competent,
                        made_at=datetime.now(UTC),
                    )
                )
            session.flush()
            print(f"{chiefs.rowcount:,} river chiefs, {len(rules)} rules")
        began = time.monotonic()
        competence.compile_everything(session)
        rows = session.execute(text("SELECT count(*) FROM competence")).scalar_one()
        print(f"\n{size:,} agencies: {rows:,} rows of competence made in {time.monotonic() - began:.1f} s")
    engine.dispose()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("VACUUM ANALYZE")


def _measure(url: str, asked: argparse.Namespace) -> None:
    from waterwatch.agencies.competence import Rule, preview
    from waterwatch.agencies.coverage import coverage
    from waterwatch.agencies.tables import OBSERVATION_KINDS
    from waterwatch.escalation.routing import Spot, route
    from waterwatch.kernel.audit import Actor

    choose = random.Random(5)
    engine = _engine(url)
    with Session(engine) as session:
        places = session.execute(PLACES, {"count": 2_000}).all()
        spots = [
            Spot(one.lon, one.lat, choose.choice(OBSERVATION_KINDS), choose.randint(1, 4), one.id, one.lon, one.lat)
            for one in places
        ]
        one = text("SELECT 1")
        contestants: dict[str, Callable[[Any], object]] = {
            "SELECT 1": lambda _spot: session.execute(one).scalar_one(),
            "routing": lambda spot: route(session, spot),
        }
        for spot in spots[:50]:  # until plans are kept
            for ask in contestants.values():
                ask(spot)
        found: dict[str, list[list[float]]] = {name: [] for name in contestants}
        for _round in range(asked.rounds):
            for times in found.values():
                times.append([])
            for spot in choose.sample(spots, asked.asked):
                for name, ask in contestants.items():
                    found[name][-1].append(_timed(ask, spot))
        _print(found)
        routes = [route(session, spot) for spot in spots[:500]]
        told = statistics.mean(len(one.agencies) for one in routes)
        borders, chiefs = sum(one.is_border for one in routes), sum(bool(one.chiefs) for one in routes)
        print(f"  of 500: {told:.1f} agencies each, {borders} on a border, {chiefs} with a chief")
        began = time.monotonic()
        lacking = sum(bool(county.lacking) for county in coverage(session))
        print(f"  coverage of {COUNTIES:,} counties, {lacking:,} lack somebody: {time.monotonic() - began:.2f} s")
        began = time.monotonic()
        rule = Rule("water", None, None, "foam", 2)
        changes = preview(session, rule, replaces=None, actor=Actor.system("bench"), now=datetime.now(UTC))
        moved = sum(change.agencies for change in changes)
        print(f"  preview of a rule for the whole country, {moved:,} agencies: {time.monotonic() - began:.2f} s")
    engine.dispose()


def _print(found: dict[str, list[list[float]]]) -> None:
    for name, rounds in found.items():
        everything = [one for times in rounds for one in times]
        shown = "".join(f"{statistics.median(times) * 1e3:<8.3f}" for times in rounds)
        print(f"  {name:12}p50 ms by round {shown} p95 of all {_percentile(everything, 0.95) * 1e3:.3f}")

    def ratios(of: Callable[[Sequence[float]], float]) -> list[float]:
        return [of(ours) / of(bare) for ours, bare in zip(found["routing"], found["SELECT 1"], strict=True)]

    _ratio("  routing / SELECT 1, medians", ratios(statistics.median), Goal(at_most=5))
    # On a busy machine both mostly wait for the processor; the fastest twentieth of each did not.
    _ratio("  routing / SELECT 1, fastest 5 %", ratios(lambda times: _percentile(times, 0.05)), Goal(at_most=5))
    _ratio("  routing / SELECT 1, means", ratios(statistics.mean), Goal(at_most=5))


if __name__ == "__main__":
    main()
