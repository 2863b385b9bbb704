"""Two, then ten moderators at once on one queue of a thousand: no report twice, none forgotten, no lease left."""

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.moderation.rows import add_moderator, add_river, add_waiting, count, grading
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import reversal, service
from waterwatch.triage import service as triage

REPORTS = 1000
UNDONE_SHARE, RELEASED_SHARE = 0.05, 0.05


def fill(sessions: sessionmaker[Session], moderators: int) -> list[Actor]:
    """A thousand reports on twenty rivers, and who is to clear them."""
    now = utc_now()
    with transaction(sessions) as session:
        rivers = [add_river(session, f"河{n}", lat=30.5928 + n / 10) for n in range(20)]
        for number in range(REPORTS):
            river = rivers[number % len(rivers)]
            place = (114.3055 + (number % 37) / 1000, 30.5928 + (number % len(rivers)) / 10)
            add_waiting(session, river, now=now - timedelta(minutes=number), at=place)
        return [add_moderator(session, f"m{n}", now=now) for n in range(moderators)]


class Hand:
    """One moderator with a connection of their own: takes the next, decides, sometimes undoes it or gives it back."""

    def __init__(self, sessions: sessionmaker[Session], who: Actor, settings: Settings, seed: int) -> None:
        assert who.id is not None
        self.sessions, self.who, self.person_id, self.settings = sessions, who, who.id, settings
        self.chance = random.Random(seed)
        self.decided: list[uuid.UUID] = []
        self.undone = self.released = 0
        self.faults: list[BaseException] = []

    def clear(self) -> None:
        """Until nothing is handed out any more."""
        try:
            while (report_id := self._next()) is not None:
                self._work_on(report_id)
        except BaseException as fault:  # the test says which
            self.faults.append(fault)

    def _next(self) -> uuid.UUID | None:
        with transaction(self.sessions) as session:
            return triage.claim_next(session, self.person_id, settings=self.settings, now=utc_now())

    def _work_on(self, report_id: uuid.UUID) -> None:
        if self.chance.random() < RELEASED_SHARE:
            with transaction(self.sessions) as session:
                triage.release(session, report_id, self.person_id)
            self.released += 1
            return
        now = utc_now()
        with transaction(self.sessions) as session:
            if self.chance.random() < 0.5:
                service.refuse_report(
                    session, report_id, "unclear", None, settings=self.settings, actor=self.who, now=now
                )
            else:
                service.grade_report(session, grading(report_id), settings=self.settings, actor=self.who, now=now)
        self.decided.append(report_id)
        if self.chance.random() < UNDONE_SHARE:
            self._undo(report_id)

    def _undo(self, report_id: uuid.UUID) -> None:
        statement = text(
            "SELECT id FROM decision WHERE report_id = :id AND reversed_at IS NULL AND action <> 'reversed'"
        )
        with transaction(self.sessions) as session:
            decision_id = session.execute(statement, {"id": report_id}).scalar_one()
            reversal.undo(session, decision_id, settings=self.settings, actor=self.who, now=utc_now())
        self.decided.remove(report_id)
        self.undone += 1


@pytest.mark.parametrize("moderators", [2, 10])
def test_a_queue_is_cleared_by_many_hands_without_one_report_twice_or_forgotten(
    database_url: str, make_settings: Callable[..., Settings], moderators: int
) -> None:
    engine = make_engine(database_url, pool_size=moderators + 1)
    sessions, settings = make_sessions(engine), make_settings(undo_s=60)
    people = fill(sessions, moderators)
    hands = [Hand(sessions, who, settings, seed) for seed, who in enumerate(people)]
    threads = [threading.Thread(target=hand.clear) for hand in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for hand in hands:  # what was given back or undone by the last of them, after all others had gone home
        hand.clear()
    assert [hand.faults for hand in hands] == [[] for _ in hands]
    decided = Counter(report_id for hand in hands for report_id in hand.decided)
    assert (len(decided), max(decided.values())) == (REPORTS, 1)
    assert all(hand.decided for hand in hands)
    assert min(sum(hand.undone for hand in hands), sum(hand.released for hand in hands)) > 10
    undone = sum(hand.undone for hand in hands)
    with transaction(sessions) as session:
        assert count(session, "review_item") == 0
        assert count(session, "report", "state IN ('accepted', 'refused')") == REPORTS
        assert count(session, "decision", "action <> 'reversed'") == REPORTS + undone
        assert count(session, "decision", "reversed_at IS NULL AND action <> 'reversed'") == REPORTS
        assert count(session, "incident_report") == count(session, "report", "state = 'accepted'")
        acts = "action IN ('report.accepted', 'report.refused')"
        assert count(session, "audit_entry", acts) == REPORTS + undone
        assert count(session, "audit_entry", "action = 'report.returned'") == undone
    engine.dispose()


def test_of_ten_who_want_the_same_report_one_decides_on_it(
    database_url: str, make_settings: Callable[..., Settings]
) -> None:
    engine = make_engine(database_url, pool_size=11)
    sessions, settings, now = make_sessions(engine), make_settings(), utc_now()
    with transaction(sessions) as session:
        people = [add_moderator(session, f"m{n}", now=now) for n in range(10)]
        report_id = add_waiting(session, add_river(session, "长江"), now=now)
    outcomes: list[str] = []
    start = threading.Barrier(10)

    def decide(who: Actor) -> None:
        start.wait()
        try:
            with transaction(sessions) as session:
                service.grade_report(session, grading(report_id), settings=settings, actor=who, now=now)
            outcomes.append("accepted")
        except Conflict as conflict:
            outcomes.append(conflict.error_code)

    threads = [threading.Thread(target=decide, args=(who,)) for who in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["accepted"] + ["not_in_review"] * 9
    with transaction(sessions) as session:
        assert (count(session, "incident"), count(session, "decision")) == (1, 1)
    engine.dispose()
