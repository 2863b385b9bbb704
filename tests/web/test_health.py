"""Probes: alive, ready and why not, figures for this machine alone; never a word about anybody."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy.engine import make_url

from tests.conftest import _administer
from tests.kernel.silence import silent_server
from tests.web.site import Visitor, running
from waterwatch.kernel.settings import Settings

LABELS = {"route", "status", "le", "table", "state"}


def test_alive_and_ready(visitor: Visitor) -> None:
    assert visitor.get("/healthz").get_json() == {"status": "alive"}
    ready = visitor.get("/readyz")
    assert (ready.status_code, set(ready.get_json()["checks"].values())) == (200, {"ok"})


def test_without_the_database_it_is_alive_and_says_what_is_missing(
    app: Flask, visitor: Visitor, database_url: str, admin_url: str
) -> None:
    name = str(make_url(database_url).database)
    _administer(admin_url, "DROP DATABASE {name} WITH (FORCE)", name)
    assert visitor.get("/healthz").status_code == 200
    response = visitor.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["checks"]["database"] == "not_answering"
    assert name not in response.text


def test_without_redis_it_is_ready_and_says_that_work_waits(
    make_settings: Callable[..., Settings], database_url: str
) -> None:
    """Reports are taken all the same: Redis is a doorbell."""
    with running(make_settings(database_url=database_url)) as app:
        response = app.test_client().get("/readyz")
    assert response.status_code == 200
    assert response.get_json()["checks"]["redis"] == "degraded_jobs_wait"


@pytest.mark.timeout(60)
def test_a_bucket_that_hangs_costs_one_question_however_many_ask(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    with silent_server() as silent:
        told = {"objects_url": f"s3://photos?endpoint={silent.url}", "redis_url": redis_url}
        with running(make_settings(database_url=database_url, **told)) as app:
            answers = [app.test_client().get("/readyz") for _ in range(5)]
        visits = len(silent.visits)
    assert [answer.status_code for answer in answers] == [503] * 5
    assert answers[-1].get_json()["checks"]["objects"] == "not_answering"
    assert visits == 1


def test_a_schema_that_is_behind_is_not_ready(visitor: Visitor, database_url: str, admin_url: str) -> None:
    import psycopg

    behind = make_url(admin_url).set(drivername="postgresql", database=make_url(database_url).database)
    with psycopg.connect(behind.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    response = visitor.get("/readyz")
    assert (response.status_code, response.get_json()["checks"]["migrations"]) == (503, "run_waterwatch_migrate")


def test_the_figures_count_and_name_nobody(visitor: Visitor) -> None:
    visitor.get("/search?q=CANARY")
    visitor.get("/f/CANARYCANARYCANARYCANARY")
    figures = visitor.get("/metrics").text
    assert 'waterwatch_requests_total{route="/search",status="200"} 1.0' in figures
    assert "waterwatch_outbox_waiting 0.0" in figures
    assert "CANARY" not in figures
    names = {
        pair.split("=")[0]
        for line in figures.splitlines()
        if "{" in line and line.startswith("waterwatch")
        for pair in line.split("{")[1].split("}")[0].split('",')
        if pair
    }
    assert names <= LABELS


@pytest.mark.parametrize(
    ("address", "headers"),
    [("203.0.113.7", {}), ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}), ("2001:db8::1", {})],
)
def test_the_figures_are_for_this_machine_alone(visitor: Visitor, address: str, headers: dict[str, str]) -> None:
    answer = visitor.get("/metrics", headers=headers, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == 404
