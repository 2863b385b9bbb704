"""What was judged before grades knew their reports counts afterwards as it did."""

import uuid

import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.conftest import _administer, _with_database
from waterwatch.kernel import migrate

# One incident graded orange and then yellow by a second report, which time has lowered to yellow since.
_BEFORE = """
INSERT INTO source (id, code, title, licence) VALUES ('{n}01', 'tests', 'tests', 'CC0');
INSERT INTO water_body (id, public_id, kind, rank, source_id, source_key)
    VALUES ('{n}02', 'w-1', 'river', 1, '{n}01', 'b');
INSERT INTO water_feature (id, kind, water_body_id, geom, source_id, source_key)
    VALUES ('{n}03', 'reach', '{n}02', ST_GeomFromText('LINESTRING(114 30, 115 30)', 4326), '{n}01', 'f');
INSERT INTO person (id, email, fs_uniquifier, created_at) VALUES ('{n}04', 'a@example.org', 'a', now());
INSERT INTO incident (id, code, organisation_id, state, state_since, kind, severity, graded_severity, water_feature_id,
                      exact_point, public_point, opened_at, last_confirmed_at)
    SELECT '{n}05', '7KMQ-2T9X', id, 'open', '2026-05-01Z', 'foam', 2, 2, '{n}03',
           ST_GeomFromText('POINT(114.5 30)', 4326), ST_GeomFromText('POINT(114.5 30)', 4326),
           '2026-05-01Z', '2026-05-02Z'
    FROM organisation;
INSERT INTO report (id, code, follow_digest, submission_digest, organisation_id, state, state_since, kind, language,
                    received_at, point, place_source, input_datum)
    SELECT ('{n}1' || day)::uuid, '7KMQ-2T9' || day, decode(repeat('0' || day, 32), 'hex'),
           decode(repeat('0' || day, 32), 'hex'), o.id, 'accepted', now(), 'foam', 'zh-Hans', now(),
           ST_GeomFromText('POINT(114.5 30)', 4326), 'pin', 'wgs84'
    FROM organisation o, (VALUES ('1'), ('2')) days (day);
INSERT INTO incident_report (report_id, incident_id, joined_at)
    VALUES ('{n}11', '{n}05', '2026-05-01Z'), ('{n}12', '{n}05', '2026-05-02Z');
INSERT INTO grade (id, incident_id, graded_at, graded_by, rubric_version, inputs, points, proposed_severity, severity)
    VALUES ('{n}21', '{n}05', '2026-05-01Z', '{n}04', '2026-1', '{{}}', 7, 3, 3),
           ('{n}22', '{n}05', '2026-05-02Z', '{n}04', '2026-1', '{{}}', 1, 1, 1);
INSERT INTO audit_entry (id, at, actor_kind, action, subject_kind, subject_id)
    VALUES ('{n}31', '2026-05-09Z', 'system', 'incident.stepped_down', 'incident', '{n}05');
"""
PREFIX = "01900000-0000-7000-8000-0000000001"


def test_grades_find_their_reports_and_stand_at_what_is_left_of_them(admin_url: str) -> None:
    name = f"ww_upgrade_{uuid.uuid4().hex[:10]}"
    _administer(admin_url, "CREATE DATABASE {name}", name)
    url = _with_database(admin_url, name)
    try:
        migrate.upgrade(url, revision="0015")
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(_BEFORE.format(n=PREFIX))
        migrate.upgrade(url)
        engine = create_engine(url)
        with engine.connect() as made:
            grades = made.execute(
                text("SELECT basis, right(report_id::text, 2), standing FROM grade ORDER BY graded_at")
            )
            assert [tuple(row) for row in grades] == [("report", "11", 2), ("report", "12", 1)]
            row = made.execute(
                text("SELECT extent_m, ST_AsText(public_extent), stepped_down_at::date::text FROM incident")
            ).one()
            assert tuple(row) == (0.0, "POINT(114.5 30)", "2026-05-09")
        engine.dispose()
    finally:
        _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)
