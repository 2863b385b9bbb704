"""What counts and what does not, case by case, with exact numbers."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.accountability.rows import add_case, add_mail, add_round
from tests.escalation.rows import add_agency, add_incident
from waterwatch.accountability import queries
from waterwatch.accountability.rules import Figures, Period

QUARTER = Period.parse("2026Q1")
AS_OF = datetime(2026, 4, 10, tzinfo=UTC)
DAY = datetime(2026, 2, 2, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Delivered at once; a day to acknowledge, a week to answer, sixty days to finish.
CLOCKS = {
    "delivered_at": DAY,
    "acknowledge_by": DAY + 24 * HOUR,
    "answer_by": DAY + 7 * 24 * HOUR,
    "finish_by": DAY + 60 * 24 * HOUR,
}


@pytest.fixture
def agency(session: Session) -> uuid.UUID:
    return add_agency(session, "武汉市生态环境局", ["huanbao@example.org"])


def figures(session: Session, agency_id: uuid.UUID, as_of: datetime = AS_OF) -> Figures:
    return queries.figures_of(session, agency_id, QUARTER, as_of=as_of)


def test_a_department_without_a_case_has_no_figures(session: Session, agency: uuid.UUID) -> None:
    assert figures(session, agency) == Figures()


def test_one_that_answers_in_time_has_acknowledged_in_time(session: Session, agency: uuid.UUID) -> None:
    add_case(session, agency, DAY, **CLOCKS, state="answered", acknowledged_at=None, answered_at=DAY + 5 * HOUR)
    found = figures(session, agency)
    assert (found.acknowledge_due, found.acknowledged, found.acknowledged_on_time) == (1, 1, 1)
    assert (found.answer_due, found.answered, found.answered_on_time) == (1, 1, 1)
    assert (found.acknowledge_median_s, found.answer_median_s) == (5 * 3600, 5 * 3600)


def test_one_that_only_reports_it_done_has_answered(session: Session, agency: uuid.UUID) -> None:
    add_case(session, agency, DAY, **CLOCKS, state="closed", closed_at=DAY + 6 * HOUR)
    found = figures(session, agency)
    assert (found.answered, found.answered_on_time, found.claimed, found.verified_clean) == (1, 1, 1, 0)


def test_late_is_done_but_not_on_time(session: Session, agency: uuid.UUID) -> None:
    add_case(session, agency, DAY, **CLOCKS, state="acknowledged", acknowledged_at=DAY + 25 * HOUR)
    found = figures(session, agency)
    assert (found.acknowledge_due, found.acknowledged, found.acknowledged_on_time) == (1, 1, 0)
    assert (found.answer_due, found.answered, found.overdue) == (1, 0, 1)


def test_at_the_last_moment_is_on_time(session: Session, agency: uuid.UUID) -> None:
    add_case(session, agency, DAY, **CLOCKS, state="acknowledged", acknowledged_at=DAY + 24 * HOUR)
    assert figures(session, agency).acknowledged_on_time == 1


def test_what_is_not_due_yet_is_held_against_nobody(session: Session, agency: uuid.UUID) -> None:
    add_case(session, agency, DAY, **CLOCKS)
    found = figures(session, agency, as_of=DAY + 3 * HOUR)
    assert found == Figures(cases=1)


def test_what_came_after_the_instant_has_not_happened(session: Session, agency: uuid.UUID) -> None:
    add_case(session, agency, DAY, **CLOCKS, state="answered", answered_at=DAY + 48 * HOUR)
    found = figures(session, agency, as_of=DAY + 30 * HOUR)
    assert (found.acknowledge_due, found.acknowledged, found.answer_due, found.overdue) == (1, 0, 0, 1)


def test_withdrawn_refused_supervising_and_undelivered_cases_stand_beside(session: Session, agency: uuid.UUID) -> None:
    add_case(session, agency, DAY, **CLOCKS, state="withdrawn")
    add_case(session, agency, DAY, **CLOCKS, state="refused_not_ours", acknowledged_at=DAY + 30 * HOUR)
    watched = add_case(session, agency, DAY, **CLOCKS)
    add_case(session, agency, DAY, **CLOCKS, role="supervising", supervises_id=watched)
    add_case(session, agency, DAY, state="dead")
    found = figures(session, agency)
    assert (found.cases, found.withdrawn, found.not_ours, found.supervising, found.not_reached) == (1, 1, 1, 1, 1)
    assert (found.acknowledge_due, found.overdue) == (1, 1)


def test_where_it_was_rerouted_the_time_of_the_second_begins_with_its_own_letter(
    session: Session, agency: uuid.UUID
) -> None:
    other = add_agency(session, "武汉市水务局", ["shuiwu@example.org"], kind="water")
    later = DAY + 40 * HOUR
    add_case(session, agency, DAY, **CLOCKS, state="refused_not_ours")
    clocks = {**CLOCKS, "delivered_at": later, "acknowledge_by": later + 24 * HOUR}
    add_case(session, other, later, **clocks, state="acknowledged", acknowledged_at=later + 2 * HOUR)
    assert figures(session, agency).cases == 0
    found = figures(session, other)
    assert (found.cases, found.acknowledged_on_time, found.acknowledge_median_s) == (1, 1, 7200)


@pytest.mark.parametrize("case_state", ["withdrawn", "closed", "refused_not_ours"])
@pytest.mark.parametrize("state", ["merged", "retracted"])
def test_an_incident_that_was_none_or_another_stands_beside_the_figures(
    session: Session, agency: uuid.UUID, state: str, case_state: str
) -> None:
    changes = {"state": state, "closed_at": DAY + HOUR}
    if state == "merged":
        changes["merged_into_id"] = add_incident(session, now=DAY)
    case_id = add_case(session, agency, DAY, **CLOCKS, state=case_state, incident=changes)
    add_round(session, case_id, DAY, DAY + HOUR)
    assert figures(session, agency) == Figures(withdrawn=2)


def test_closed_by_the_department_is_no_proof_and_a_citizens_photo_is(session: Session, agency: uuid.UUID) -> None:
    done = {**CLOCKS, "state": "closed", "answered_at": DAY + HOUR, "closed_at": DAY + 2 * HOUR}
    clean = {"state": "verified_clean", "closed_at": DAY + 50 * HOUR}
    add_case(session, agency, DAY, **done)
    add_case(session, agency, DAY, **done, incident=clean)
    found = figures(session, agency)
    assert (found.claimed, found.settle_due, found.verified_clean) == (1, 2, 1)
    assert figures(session, agency, as_of=DAY + 49 * HOUR).verified_clean == 0


def test_the_share_found_clean_is_of_all_whose_time_to_finish_is_over_also_of_those_nobody_looked_at_again(
    session: Session, agency: uuid.UUID
) -> None:
    done = {**CLOCKS, "state": "closed", "answered_at": DAY + HOUR, "closed_at": DAY + 2 * HOUR}
    clean, expired = ({"state": state, "closed_at": DAY + 54 * 24 * HOUR} for state in ("verified_clean", "expired"))
    for _ in range(7):
        add_case(session, agency, DAY, **done, incident=expired)
    add_case(session, agency, DAY, **CLOCKS, incident=expired)
    add_case(session, agency, DAY, **CLOCKS)
    add_case(session, agency, DAY, **done, incident=clean)
    found = figures(session, agency)
    assert (found.settle_due, found.verified_clean, found.claimed, found.verified_clean_percent) == (10, 1, 7, 10)


def test_while_the_time_to_finish_runs_nothing_is_said_of_what_is_clean(session: Session, agency: uuid.UUID) -> None:
    for _ in range(3):
        add_case(session, agency, DAY, **CLOCKS, incident={"state": "verified_clean", "closed_at": DAY + HOUR})
    month = Period.parse("2026-02")
    before = queries.figures_of(session, agency, month, as_of=CLOCKS["finish_by"] - timedelta(microseconds=1))
    assert (before.settle_due, before.verified_clean_percent, before.is_clean_too_early) == (0, None, True)
    after = queries.figures_of(session, agency, month, as_of=CLOCKS["finish_by"])
    assert (after.settle_due, after.verified_clean_percent, after.is_clean_too_early) == (3, 100, False)


def test_once_an_incident_is_over_nothing_falls_due_but_the_time_to_finish(session: Session, agency: uuid.UUID) -> None:
    add_case(session, agency, DAY, **CLOCKS, incident={"state": "expired", "closed_at": DAY + 10 * HOUR})
    assert figures(session, agency) == Figures(cases=1, settle_due=1)
    late = {"state": "expired", "closed_at": DAY + 30 * HOUR}
    add_case(session, agency, DAY, **CLOCKS, incident=late)
    found = figures(session, agency)
    assert (found.cases, found.acknowledge_due, found.acknowledged, found.answer_due, found.overdue) == (2, 1, 0, 0, 0)


def test_a_reopened_case_counts_again_from_its_new_letter(session: Session, agency: uuid.UUID) -> None:
    again = DAY + 100 * HOUR
    clocks = {**CLOCKS, "delivered_at": again, "acknowledge_by": again + 24 * HOUR, "answer_by": again + 168 * HOUR}
    case_id = add_case(session, agency, DAY, **clocks, state="acknowledged", acknowledged_at=again + HOUR)
    said, by = DAY + 3 * HOUR, DAY + 24 * HOUR
    add_round(session, case_id, said, again, delivered_at=DAY, acknowledge_by=by, answer_by=by, finish_by=by)
    found = figures(session, agency)
    assert (found.cases, found.reopened, found.claimed) == (2, 1, 0)
    assert (found.acknowledged_on_time, found.answer_due, found.answered_on_time, found.overdue) == (2, 2, 1, 1)


def test_a_reopened_case_that_waits_for_its_letter_is_nobodys_failure(session: Session, agency: uuid.UUID) -> None:
    again = DAY + 100 * HOUR
    case_id = add_case(session, agency, DAY, state="queued")
    add_round(session, case_id, DAY, again)
    found = figures(session, agency)
    assert (found.cases, found.reopened, found.not_reached) == (1, 1, 1)


@pytest.mark.parametrize(("state", "beside"), [("refused_not_ours", "not_ours"), ("withdrawn", "withdrawn")])
def test_what_a_case_becomes_does_not_undo_its_former_rounds(
    session: Session, agency: uuid.UUID, state: str, beside: str
) -> None:
    again, by = DAY + 100 * HOUR, DAY + 24 * HOUR
    case_id = add_case(session, agency, DAY, delivered_at=again, state=state)
    add_round(session, case_id, DAY + 30 * HOUR, again, delivered_at=DAY, acknowledge_by=by, answer_by=by)
    found = figures(session, agency)
    assert (found.cases, found.reopened, getattr(found, beside)) == (1, 1, 1)
    assert (found.acknowledge_due, found.acknowledged_on_time, found.answer_due, found.answered_on_time) == (1, 0, 1, 0)


def test_a_mail_that_came_in_time_and_waits_for_the_lead_is_neither_kept_nor_missed(
    session: Session, agency: uuid.UUID
) -> None:
    case_id = add_case(session, agency, DAY, **CLOCKS)
    mail_id = add_mail(session, case_id, CLOCKS["acknowledge_by"])
    found = figures(session, agency, as_of=CLOCKS["answer_by"])
    assert (found.cases, found.acknowledge_due, found.answer_due, found.overdue) == (1, 0, 0, 0)
    session.execute(
        text("UPDATE case_answer SET state = 'withheld', withheld_reason = 'not_an_answer' WHERE id = :id"),
        {"id": mail_id},
    )
    found = figures(session, agency, as_of=CLOCKS["answer_by"])
    assert (found.cases, found.acknowledge_due, found.answer_due, found.overdue) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("after", "facts", "due"),
    [
        (25 * HOUR, {}, (1, 0, 1)),  # too late to acknowledge, in time to answer
        (7 * 24 * HOUR + timedelta(seconds=1), {}, (1, 1, 1)),
        (HOUR, {"kind": "comment"}, (0, 1, 1)),  # received it, no more
        (HOUR, {"state": "published", "published_at": DAY}, (1, 1, 1)),  # read: the case says what came of it
        (HOUR, {"via": "link"}, (1, 1, 1)),
        (9 * 24 * HOUR, {}, (1, 1, 1)),  # after the instant
    ],
)
def test_a_mail_holds_up_only_what_it_came_in_time_for(
    session: Session, agency: uuid.UUID, after: timedelta, facts: dict[str, object], due: tuple[int, int, int]
) -> None:
    add_mail(session, add_case(session, agency, DAY, **CLOCKS), DAY + after, **facts)
    found = figures(session, agency, as_of=DAY + 8 * 24 * HOUR)
    assert (found.acknowledge_due, found.answer_due, found.overdue) == due


def test_a_mail_of_a_former_round_holds_up_nothing_of_the_present_one(session: Session, agency: uuid.UUID) -> None:
    again = DAY + 2 * HOUR
    case_id = add_case(session, agency, DAY, **{**CLOCKS, "delivered_at": again})
    add_round(session, case_id, DAY, again)
    add_mail(session, case_id, DAY + HOUR)
    found = figures(session, agency)
    assert (found.cases, found.acknowledge_due, found.acknowledged, found.overdue) == (2, 2, 1, 1)


def test_a_case_belongs_to_the_period_it_arrived_in_by_chinas_clock(session: Session, agency: uuid.UUID) -> None:
    begins = datetime(2025, 12, 31, 16, tzinfo=UTC)  # midnight in China
    for at in (begins - timedelta(seconds=1), begins, QUARTER.until - timedelta(seconds=1), QUARTER.until):
        add_case(session, agency, at - HOUR, delivered_at=at)
    assert figures(session, agency).cases == 2


def test_whoever_followed_the_link_before_we_knew_it_arrived_was_reached(session: Session, agency: uuid.UUID) -> None:
    add_case(session, agency, DAY, state="acknowledged", acknowledged_at=DAY + HOUR)
    found = figures(session, agency)
    assert (found.cases, found.acknowledged, found.acknowledged_on_time, found.not_reached) == (1, 1, 0, 0)


def test_the_median_is_of_all_that_are_due_and_infinite_when_most_are_not_done(
    session: Session, agency: uuid.UUID
) -> None:
    for hours in (1, 3):
        add_case(session, agency, DAY, **CLOCKS, state="acknowledged", acknowledged_at=DAY + hours * HOUR)
    add_case(session, agency, DAY, **CLOCKS)
    assert figures(session, agency).acknowledge_median == 3 * 3600
    for _ in range(2):
        add_case(session, agency, DAY, **CLOCKS)
    found = figures(session, agency)
    assert found.acknowledge_median == float("inf")
    assert (found.acknowledge_due, found.acknowledged, found.acknowledged_on_time_percent) == (5, 2, 40)


def test_of_fewer_than_three_neither_share_nor_median_is_told(session: Session, agency: uuid.UUID) -> None:
    for _ in range(2):
        add_case(session, agency, DAY, **CLOCKS, state="acknowledged", acknowledged_at=DAY + HOUR)
    found = figures(session, agency)
    assert (found.acknowledge_due, found.acknowledge_median, found.acknowledged_on_time_percent) == (2, None, None)


def test_areas_count_the_departments_within_and_the_country_all(session: Session, agency: uuid.UUID) -> None:
    county = add_agency(session, "江岸区水务局", [], level="county", kind="water")
    session.execute(
        text("""UPDATE jurisdiction SET parent_id = (SELECT jurisdiction_id FROM agency WHERE id = :above)
                WHERE id = (SELECT jurisdiction_id FROM agency WHERE id = :below)"""),
        {"above": agency, "below": county},
    )
    add_case(session, agency, DAY, **CLOCKS, state="acknowledged", acknowledged_at=DAY + HOUR)
    for hours in (2, 3):
        add_case(session, county, DAY, **CLOCKS, state="acknowledged", acknowledged_at=DAY + hours * HOUR)
    session.execute(
        text("""INSERT INTO period_release (period, id, as_of, state, state_since, state_deadline_at)
                VALUES ('2026Q1', gen_random_uuid(), now(), 'shown', now(), now())""")
    )
    assert queries.count(session, QUARTER, as_of=AS_OF) == 5
    found = session.execute(
        text("""SELECT agency_id IS NULL AS is_area, jurisdiction_id IS NULL AS is_country, cases, acknowledge_median_s
                FROM period_figures ORDER BY agency_id IS NULL, jurisdiction_id IS NULL, cases""")
    ).all()
    assert [tuple(row) for row in found] == [
        (False, True, 1, 3600.0),
        (False, True, 2, 7200.0),
        (True, False, 2, 7200.0),
        (True, False, 3, 7200.0),
        (True, True, 3, 7200.0),
    ]
