"""Two hundred reports go from phone to department while everything around them is broken at random."""

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.outcome import assert_all_delivered, assert_all_in_review, assert_books_are_whole
from tests.faults.people import grade_all, send_many
from tests.faults.smtp_peer import MANNERS
from tests.faults.system import System, await_true, kill, running_system

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

REPORTS = 200
DRAINED_WITHIN_S = 60.0  # after the last fault has ended
PAUSE_S = (0.3, 1.5)


class Trouble:
    """Breaks something again and again, until told to end; then everything is let be."""

    def __init__(self, system: System, chance: random.Random) -> None:
        self._system, self._chance = system, chance
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._make, name="trouble")
        self.done: dict[str, int] = {}
        self._faults: tuple[Callable[[], None], ...] = (
            self.kill_web,
            self.kill_web_worker,
            self.kill_relay,
            self.kill_team,
            self.kill_horse,
            self.kill_horse,
            self.kill_sweep,
            self.flush_redis,
            self.restart_redis,
            self.crash_postgres,
            self.change_mail_manners,
            self.change_mail_manners,
        )

    def __enter__(self) -> "Trouble":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._system.peer.manners = "kind"

    def _make(self) -> None:
        deck: list[Callable[[], None]] = []
        while not self._is_over.wait(self._chance.uniform(*PAUSE_S)):
            if not deck:  # each fault comes up before any comes up again
                deck = list(self._faults)
                self._chance.shuffle(deck)
            fault = deck.pop()
            fault()
            self.done[fault.__name__] = self.done.get(fault.__name__, 0) + 1

    def kill_web(self) -> None:
        kill(self._system.pid_of("web"))

    def kill_web_worker(self) -> None:
        for fork in self._system.forks_of("web")[:1]:
            kill(fork)

    def kill_relay(self) -> None:
        kill(self._system.pid_of("relay"))

    def kill_sweep(self) -> None:
        kill(self._system.pid_of("sweep"))

    def kill_team(self) -> None:
        if teams := self._system.forks_of("work"):
            kill(self._chance.choice(teams))

    def kill_horse(self) -> None:
        if horses := self._system.horses():
            kill(self._chance.choice(horses))

    def flush_redis(self) -> None:
        self._system.flush_redis()

    def restart_redis(self) -> None:
        self._system.restart_redis()

    def crash_postgres(self) -> None:
        self._system.crash_postgres()

    def change_mail_manners(self) -> None:
        self._system.peer.manners = self._chance.choice(MANNERS)


def test_two_hundred_reports_reach_their_departments(folder: Path, chance: random.Random) -> None:
    with running_system(folder) as system:
        try:
            _travel(system, chance)
        except BaseException:
            print(system.logs())
            raise


def _travel(system: System, chance: random.Random) -> None:
    with Trouble(system, chance) as trouble:
        citizens = send_many(system, range(REPORTS), threads=4, pause_s=lambda: chance.uniform(0.1, 0.5))
    took_s = _drain(system)
    tries = sum(citizen.tries for citizen in citizens)
    print(f"sent: {REPORTS} in {tries} tries; faults {trouble.done}; drained {took_s:.1f} s after the last")
    assert_all_in_review(system, citizens)

    with Trouble(system, chance) as trouble:
        grade_all(system, pause_s=lambda: 0.1)
    took_s = _drain(system)
    copies = len(system.peer.received())
    print(f"graded: faults {trouble.done}; {copies} copies of mails; drained {took_s:.1f} s after the last")
    assert_all_delivered(system, reports=REPORTS)
    assert_books_are_whole(system)


def _drain(system: System) -> float:
    return await_true(lambda: system.waiting() == 0, limit_s=DRAINED_WITHIN_S, what="the queue is drained")
