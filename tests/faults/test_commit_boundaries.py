"""Every process is killed once before and once after every commit it makes; nothing is lost and nothing done twice."""

from pathlib import Path

import pytest

from tests.faults.outcome import assert_all_delivered, assert_books_are_whole
from tests.faults.people import grade_all, send_many
from tests.faults.system import System, await_true, running_system

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

LEASE_S = 3
REPORTS_BY_ROUND = 30
PATIENT_EVERY = 10  # their reports are moved on by a job of its own
# What must be among the boundaries found; the rest depends on how many readings a job makes.
KNOWN = {
    "web.submit",
    "relay.lease",
    "sweep.seal",
    "horse.photos.sanitise.4",
    "horse.photos.settled.2",
    "horse.escalation.deliver.3",
    "horse.mapping.publish.4",
}


# A job that hands letters over is killed with a batch of claims, each of which runs out after half a minute; and it
# passes more boundaries than one letter would, at each of which it dies.
DRAINED_WITHIN_S = 400


def drain(system: System, *, limit_s: float = DRAINED_WITHIN_S) -> float:
    return await_true(lambda: system.waiting() == 0, limit_s=limit_s, what="the queue is drained")


# How often the publisher commits depends on how much has changed: of it so many are certain to come again. The rest is
# test_publisher's, which kills it at every boundary there is.
PUBLISHERS_COMMITS = 4
# As often as a job that hands letters over commits whatever waits: begun, claimed, drawn, recorded, looked for more.
SENDERS_COMMITS = 4


def is_passed_again(boundary: str) -> bool:
    """Whether a boundary that was seen once will be seen with the next reports.

    The level of the one river that all of them lie on has risen with the first, and changes no more.
    """
    name, _dot, number = boundary.rpartition(".")[0].rpartition(".")
    if name == "horse.mapping.publish":
        return int(number) <= PUBLISHERS_COMMITS
    if name == "horse.escalation.deliver":
        return int(number) <= SENDERS_COMMITS
    return not name.startswith(("horse.mapping.", "horse.advisories."))


def arm(system: System) -> set[str]:
    """Every boundary seen so far kills once, and where the dying process has a parent of ours, once with it."""
    armed = set()
    for path in (system.faults / "seen").iterdir():
        if not is_passed_again(path.name):
            continue
        armed.add(path.name)
        if path.name.startswith(("web.", "horse.")):
            armed.add(f"{path.name}.both")
    for name in armed:
        (system.faults / "armed" / name).touch()
    return armed


def test_a_kill_at_any_commit_loses_nothing(folder: Path) -> None:
    with running_system(folder, outbox_lease_s=str(LEASE_S), smtp_timeout_s="2") as system:
        try:
            _live_and_die(system)
        except BaseException:
            print(system.logs())
            raise


def _live_and_die(system: System) -> None:
    # A quiet life first: it shows which commits there are.
    send_many(system, range(3), threads=1, pause_s=lambda: 0.0, patient_every=PATIENT_EVERY)
    drain(system)
    grade_all(system, pause_s=lambda: 0.0)
    drain(system)
    await_true((system.faults / "seen" / "sweep.seal.after").exists, limit_s=20, what="the audit is sealed")
    seen = {path.name.rpartition(".")[0] for path in (system.faults / "seen").iterdir()}
    assert seen >= KNOWN

    armed = arm(system)
    fired = system.faults / "fired"
    number = 3

    def is_spent() -> bool:
        return {path.name for path in fired.iterdir()} >= armed

    rounds = 0
    while not is_spent() and rounds < 4:
        rounds += 1
        send_many(
            system,
            range(number, number + REPORTS_BY_ROUND),
            threads=3,
            pause_s=lambda: 0.1,
            patient_every=PATIENT_EVERY,
        )
        number += REPORTS_BY_ROUND
        drain(system)
        grade_all(system, pause_s=lambda: 0.02)
        took_s = drain(system)
    left = sorted(armed - {path.name for path in fired.iterdir()})
    print(f"{len(armed)} boundaries, {rounds} rounds, {system.restarts} restarts, last drained in {took_s:.1f} s")
    assert left == []
    assert_all_delivered(system, reports=number)
    assert_books_are_whole(system)
