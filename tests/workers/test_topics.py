"""Every topic has a job, every job a topic, and every state with a deadline somebody who watches it."""

import importlib
import inspect
from pathlib import Path

import pytest

import waterwatch
from waterwatch.bulletins.rules import BULLETIN, letter_life
from waterwatch.casework.rules import ANSWER
from waterwatch.escalation.clocks import OWED
from waterwatch.escalation.rules import CASE, DELIVERY, case_life, delivery_life
from waterwatch.inbox.rules import MAIL
from waterwatch.incidents.rules import INCIDENT
from waterwatch.incidents.tables import CLOSED_STATES
from waterwatch.kernel.settings import Settings
from waterwatch.photos.rules import timed as photo_life
from waterwatch.postbox.rules import posting_life
from waterwatch.reports.rules import asked as question_life
from waterwatch.reports.rules import timed as report_life
from workers.deadlines import REMEDIES
from workers.sweep import DUTIES
from workers.teams import QUEUES, TEAMS
from workers.topics import TOPICS, Retry, topics_of

SLICES = Path(waterwatch.__file__).parent


def declared_topics() -> set[str]:
    found = set()
    for path in SLICES.glob("*/*.py"):
        if "\nTOPIC_" in path.read_text():
            module = importlib.import_module(f"waterwatch.{path.parent.name}.{path.stem}")
            found |= {value for name, value in vars(module).items() if name.startswith("TOPIC_")}
        if "TOPIC_" not in path.read_text():
            continue
        module = importlib.import_module(f"waterwatch.{path.parent.name}.{path.stem}")
        found |= {value for name, value in vars(module).items() if name.startswith("TOPIC_")}
    return found


def test_every_topic_has_a_job_and_every_job_a_topic() -> None:
    assert set(TOPICS) == declared_topics()


def test_every_queue_is_served_and_every_topic_is_in_one() -> None:
    assert {topic.queue for topic in TOPICS.values()} <= set(QUEUES)
    assert {name for team in TEAMS for name in team} == set(QUEUES)
    assert sorted(name for queue in QUEUES for name in topics_of(queue)) == sorted(TOPICS)


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_every_handler_says_why_it_may_run_twice(topic: str) -> None:
    assert "Idempotent" in (inspect.getdoc(TOPICS[topic].handler) or "")


def test_every_state_with_a_deadline_is_watched(settings: Settings) -> None:
    machines = [("photo", photo_life(settings)), ("report", report_life(settings))]
    machines += [("escalation_case", case_life(settings)), ("delivery", delivery_life(settings))]
    machines += [("posting", posting_life(settings)), ("question", question_life(settings)), ("incoming_mail", MAIL)]
    timed = {(table, state) for table, machine in machines for state in machine.deadlines}
    # The deadlines of these depend on the row: the severity of an incident, the acknowledgement of a case.
    timed |= {("incident", state) for state in INCIDENT.states - set(CLOSED_STATES)}
    timed |= {("downstream_forecast", "standing")}  # when its next window lapses, and every hour
    timed |= {("escalation_case", state) for state in OWED} | {("delivery", "awaiting")}
    timed |= {("case_answer", state) for state in ANSWER.deadlines}
    timed |= {("incoming_mail", state) for state in MAIL.deadlines}
    timed |= {("bulletin", state) for state in BULLETIN.deadlines} | {("period_release", "shown")}
    timed |= {("bulletin_letter", state) for state in letter_life(settings).deadlines}
    assert set(REMEDIES) == timed
    assert {("delivery", state) for state in DELIVERY.states} > {key for key in REMEDIES if key[0] == "delivery"}
    assert CASE.states >= {state for table, state in REMEDIES if table == "escalation_case"}


def test_every_remedy_is_a_duty_of_the_sweep() -> None:
    assert {remedy for remedy in REMEDIES.values() if remedy is not None} <= set(DUTIES)


def test_pauses_double_up_to_their_cap_and_never_overflow() -> None:
    policy = Retry(0.5, 30, None)
    assert [policy.pause_s(attempt) for attempt in (1, 2, 3, 7, 8, 100_000)] == [0.5, 1, 2, 30, 30, 30]


@pytest.mark.parametrize(
    ("attempt", "age_s", "is_over"), [(1, 0, False), (2, 0, False), (3, 0, True), (1, 99, False), (1, 100, True)]
)
def test_work_is_given_up_after_so_many_attempts_or_so_much_time(attempt: int, age_s: float, is_over: bool) -> None:
    assert Retry(1, 30, 3, give_up_s=100).is_over(attempt, age_s) is is_over
