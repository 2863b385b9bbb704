"""What a pooled connection is looked at for before it is used."""

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from waterwatch.kernel.db import make_sessions, transaction


def test_a_connection_the_server_closed_is_replaced_before_it_is_used(engine: Engine, admin_url: str) -> None:
    sessions = make_sessions(engine)
    with transaction(sessions) as first, transaction(sessions) as second:  # two of the pool
        pids = [one.execute(text("SELECT pg_backend_pid()")).scalar_one() for one in (first, second)]
    url = make_url(admin_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        for pid in pids:
            connection.execute("SELECT pg_terminate_backend(%s, 30000)", (pid,))  # waits until it has ended
    with transaction(sessions) as first, transaction(sessions) as second:
        anew = [one.execute(text("SELECT pg_backend_pid()")).scalar_one() for one in (first, second)]
    assert not set(anew) & set(pids)
