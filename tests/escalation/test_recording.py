"""What is put on record of letters while others do the same: nobody waits for ever, nothing is forgotten."""

import contextlib
import threading
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from tests.casework.test_unheard import wait_until_somebody_waits
from tests.escalation.engine import Engine
from tests.escalation.test_engine import agency, forward, now
from waterwatch.escalation import breakers, claims
from waterwatch.escalation.channels import Failed, Handed, Outcome
from waterwatch.escalation.channels.known import CHANNELS
from waterwatch.escalation.claims import Claim
from waterwatch.escalation.recording import Recorder, Task
from waterwatch.escalation.tables import Endpoint
from waterwatch.kernel.db import make_engine, transaction
from waterwatch.messaging.attempts import Failure


@dataclass
class Claimed:
    """As much of a claim as a breaker looks at."""

    endpoint: str
    is_failing: bool = True
    others: tuple[object, ...] = field(default=())


def test_endpoints_are_locked_by_name_whatever_they_answered(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        for name in ("a.example", "b.example"):
            session.add(Endpoint(name=name, failures=1, changed_at=now()))
    results: list[tuple[Claim, Outcome]] = [
        (Claimed("a.example"), Failed(Failure("timeout", is_deferred=True))),  # type: ignore[list-item]
        (Claimed("b.example"), Handed()),  # type: ignore[list-item]
    ]

    def note() -> None:
        with transaction(engine_of.sessions) as session:
            breakers.note(session, results, now=now())

    with transaction(engine_of.sessions) as session:
        session.execute(select(Endpoint.name).where(Endpoint.name == "a.example").with_for_update())
        other = threading.Thread(target=note)
        other.start()
        wait_until_somebody_waits(engine_of.sessions)
        b_too = select(Endpoint.name).where(Endpoint.name == "b.example").with_for_update(nowait=True)
        assert session.execute(b_too).scalar_one() == "b.example"
    other.join()
    with transaction(engine_of.sessions) as session:
        rows = session.execute(text("SELECT name, failures FROM endpoint ORDER BY name")).all()
    assert [tuple(row) for row in rows] == [("a.example", 2), ("b.example", 0)]


# The database ends whoever records letters, so many times, as it ends one of two who wait for each other.
_ENDED = """
CREATE SEQUENCE ended;
CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('ended') <= {times} THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ended BEFORE UPDATE ON escalation_case FOR EACH ROW EXECUTE FUNCTION end_it()
"""


@pytest.mark.parametrize(("times", "states"), [(2, ["sent", "sent"]), (3, ["sending", "sending"])])
def test_letters_that_were_handed_over_are_recorded_although_others_were_waited_for(
    engine_of: Engine, times: int, states: list[str]
) -> None:
    agency(engine_of, "a@x.example")
    for _ in range(2):
        forward(engine_of)
    ids = [one.id for one in engine_of.deliveries()]
    with transaction(engine_of.sessions) as session:
        held = claims.claim(session, ids, settings=engine_of.settings, channels=CHANNELS, now=now())
    owner = make_engine(engine_of.settings.database_url, role=None)
    with owner.begin() as connection:
        connection.execute(text(_ENDED.format(times=times)))
    owner.dispose()
    recorder = Recorder(engine_of.context)
    for found in held.values():
        assert isinstance(found, Claim)
        recorder.put(Task(found, ()), Handed())
    with pytest.raises(OperationalError) if times == 3 else contextlib.nullcontext():
        recorder.flush()
    assert [one.state for one in engine_of.deliveries()] == states
