"""Ten thousand random walks of acts by random people reach no state that must not be; the audit tells each move.

Walks are the paths of trees: those of one tree share their beginnings, so that ten thousand take two minutes. Every
step runs in a savepoint, as a request runs in its transaction; whoever may not act by the views' own declarations does
not get that far.
"""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import IN_WUHAN, add_agency, insert
from tests.moderation.forbidden import FOUND
from tests.moderation.rows import ORGANISATION, add_moderator, add_river, add_waiting, grading, judgement
from waterwatch.escalation import deliveries
from waterwatch.escalation import service as escalation
from waterwatch.escalation.rules import CASE
from waterwatch.incidents.rules import HAZARD_POINTS, INCIDENT, Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import DomainError
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import actions, reversal, service
from waterwatch.reports import appeals, questions
from waterwatch.reports import service as reports
from waterwatch.reports.amending import AmendReport
from waterwatch.reports.rules import QUESTION, REPORT
from waterwatch.triage import service as triage

WALKS = 10_000
BRANCHES = (1, 1, 1, 1, 2, 2, 5, 5, 10)  # of each tree: a thousand paths of nine steps
MACHINES = {"report": REPORT, "incident": INCIDENT, "escalation_case": CASE, "question": QUESTION}
# Two moves within one act, of which the database sees one.
THROUGH = {("escalation_case", "withdrawn", "delivered"), ("escalation_case", "withdrawn", "acknowledged")}

_SNAPSHOT = text("""
SELECT (SELECT jsonb_object_agg(name || ':' || id, state) FROM (
            SELECT 'report' AS name, id, state FROM report UNION ALL SELECT 'incident', id, state FROM incident
            UNION ALL SELECT 'escalation_case', id, state FROM escalation_case
            UNION ALL SELECT 'question', id, state FROM question) rows) AS states,
       (SELECT jsonb_agg(jsonb_build_array(action, subject_kind, subject_id, before ->> 'state', after ->> 'state')
                         ORDER BY id) FROM audit_entry) AS audit
""")


@dataclass
class World:
    """Everybody and everything there is, the same at the beginning of every tree."""

    session: Session
    settings: Settings
    people: dict[str, Actor]
    allowed: Callable[[str, str], bool]
    rivers: list[uuid.UUID]
    chance: random.Random
    now: datetime
    walks: int = 0
    steps: int = 0
    done: Counter[str] = field(default_factory=Counter)

    def pick(self, table: str, where: str = "true") -> uuid.UUID | None:
        """One row, any."""
        ids = self.session.execute(text(f"SELECT id FROM {table} WHERE {where} ORDER BY id")).scalars().all()
        return self.chance.choice(ids) if ids else None

    def need(self, table: str, where: str = "true") -> uuid.UUID:
        """One row, or nothing is done."""
        found = self.pick(table, where)
        if found is None:
            raise Nothing
        return found


class Nothing(DomainError):
    """There is nothing to do this with."""


Act = Callable[[World, Actor], None]


def _options(world: World, who: Actor) -> dict[str, Any]:
    return {"settings": world.settings, "actor": who, "now": world.now}


def _judgement(world: World) -> Any:
    kind = world.chance.choice(["sewage_outfall", "foam", "fish_kill", *HAZARD_POINTS])
    return judgement(kind, world.chance.choice([*Severity, Severity.ESPECIALLY_MAJOR]))


def _report(world: World) -> uuid.UUID:
    """Mostly one that waits."""
    waits = "state = 'in_review'" if world.chance.random() < 0.8 else "true"
    return world.need("report", waits)


def open_one(world: World, who: Actor) -> None:
    water = world.chance.choice([None, None, *world.rivers])
    command = grading(_report(world), judgement=_judgement(world), water_feature_id=water)
    service.grade_report(world.session, command, **_options(world, who))


def join(world: World, who: Actor) -> None:
    incident_id = world.need("incident", "closed_at IS NULL" if world.chance.random() < 0.9 else "true")
    command = grading(_report(world), judgement=_judgement(world), join_incident_id=incident_id)
    service.grade_report(world.session, command, **_options(world, who))


def refuse(world: World, who: Actor) -> None:
    service.refuse_report(world.session, _report(world), "unclear", "再拍一张", **_options(world, who))


def accept_patrol(world: World, who: Actor) -> None:
    verifies = world.pick("incident", "closed_at IS NULL") if world.chance.random() < 0.7 else None
    report_id = world.need("report", "kind = 'all_clear'")
    service.accept_patrol(world.session, report_id, verifies_incident_id=verifies, **_options(world, who))


def correct(world: World, who: Actor) -> None:
    place = (IN_WUHAN[0] + world.chance.random() / 100, IN_WUHAN[1])
    kind, water = world.chance.choice([None, "foam"]), world.chance.choice([None, *world.rivers])
    change = AmendReport(_report(world), kind, water, world.chance.choice([None, place]))
    actions.correct(world.session, change, **_options(world, who))


def ask(world: World, who: Actor) -> None:
    actions.ask(world.session, _report(world), "still_there", None, **_options(world, who))


def hand(world: World, who: Actor) -> None:
    actions.hand_to_lead(world.session, _report(world), "unsure", **_options(world, who))


def take_back(world: World, who: Actor) -> None:
    report_id = world.need("report", "id IN (SELECT report_id FROM review_item WHERE set_aside = 'lead')")
    actions.take_from_lead(world.session, report_id, actor=who, now=world.now)


def second(world: World, who: Actor) -> None:
    incident_id = world.need("incident", "severity <> graded_severity OR random() < 0.1")
    service.second_red(world.session, incident_id, **_options(world, who))


def regrade(world: World, who: Actor) -> None:
    actions.regrade(world.session, world.need("incident"), _judgement(world), **_options(world, who))


def split(world: World, who: Actor) -> None:
    several = "closed_at IS NULL AND (SELECT count(*) FROM incident_report r WHERE r.incident_id = incident.id) > 1"
    incident_id = world.need("incident", several)
    rows = world.session.execute(
        text("SELECT report_id FROM incident_report WHERE incident_id = :id ORDER BY report_id"), {"id": incident_id}
    )
    chosen = world.chance.sample(rows.scalars().all(), 1)
    actions.split(world.session, incident_id, chosen, _judgement(world), **_options(world, who))


def absorb(world: World, who: Actor) -> None:
    into, gone = world.need("incident", "closed_at IS NULL"), world.need("incident", "closed_at IS NULL")
    actions.absorb(world.session, into, gone, **_options(world, who))


def undo(world: World, who: Actor) -> None:
    mine = f"reversed_at IS NULL AND action <> 'reversed' AND person_id = '{who.id}'"
    reversal.undo(world.session, world.need("decision", mine), **_options(world, who))


def reverse(world: World, who: Actor) -> None:
    reversal.reverse(world.session, world.need("decision"), "other_mistake", **_options(world, who))


def claim(world: World, who: Actor) -> None:
    assert who.id is not None
    triage.claim_next(world.session, who.id, settings=world.settings, now=world.now)


def release(world: World, who: Actor) -> None:
    assert who.id is not None
    triage.release(world.session, _report(world), who.id)


def withdraw(world: World, _who: Actor) -> None:
    reports.withdraw(world.session, world.need("report"), now=world.now)


def answer(world: World, _who: Actor) -> None:
    report_id = world.need("report", "id IN (SELECT report_id FROM question WHERE state = 'open')")
    questions.answer(world.session, report_id, "还在", now=world.now)
    triage.put_back_if(world.session, report_id, "question")


def appeal(world: World, _who: Actor) -> None:
    report_id = world.need("report", "state = 'refused'" if world.chance.random() < 0.9 else "true")
    against = appeals.appeal(world.session, report_id, "真的有污水", settings=world.settings, now=world.now)
    triage.keep_from(world.session, report_id, against)


def acknowledge(world: World, who: Actor) -> None:
    escalation.acknowledge(world.session, world.need("escalation_case"), actor=who, now=world.now)


def post(world: World, _who: Actor) -> None:
    """The letters whose time has come are taken over by the mail server."""
    due = text("""SELECT d.id FROM delivery d JOIN outbox o ON o.payload ->> 'delivery_id' = d.id::text
                  WHERE d.state = 'pending' AND o.available_at <= :now ORDER BY d.id""")
    for delivery_id in world.session.execute(due, {"now": world.now}).scalars().all():
        made = deliveries.claim_delivery(world.session, delivery_id, settings=world.settings, now=world.now)
        if made is not None:
            deliveries.record_sent(world.session, made, now=world.now)


def sweep(world: World, _who: Actor) -> None:
    """Days go by; what is due happens."""
    world.now += timedelta(days=world.chance.choice([1, 3, 15]))
    session, system = world.session, Actor.system("sweep")
    for query, use in (
        ("SELECT id FROM question WHERE state_deadline_at < :now", actions.lapse_question),
        ("SELECT id FROM incident WHERE state_deadline_at < :now", service.step_down),
    ):
        for row_id in session.execute(text(query), {"now": world.now}).scalars().all():
            use(session, row_id, now=world.now)
    before = world.now - timedelta(days=7)
    for row_id in session.execute(text("SELECT id FROM report WHERE state = 'refused'")).scalars().all():
        reports.erase_ended(session, row_id, before=before, actor=system, now=world.now)


# What is done, how often, and the view it is done by; None: by a link, or by the system itself.
ACTS: dict[Act, tuple[int, str | None]] = {
    open_one: (8, "moderation.grade"),
    join: (6, "moderation.grade"),
    refuse: (4, "moderation.refuse"),
    accept_patrol: (2, "moderation.accept_patrol"),
    correct: (2, "actions.correct"),
    ask: (2, "actions.ask"),
    hand: (1, "actions.hand_to_lead"),
    take_back: (1, "actions.take_from_lead"),
    second: (3, "moderation.second"),
    regrade: (3, "incident_desk.regrade"),
    split: (3, "incident_desk.split"),
    absorb: (3, "incident_desk.absorb"),
    undo: (5, "actions.undo"),
    reverse: (6, "record.reverse"),
    claim: (1, "moderation.claim_next"),
    release: (1, "moderation.release"),
    withdraw: (1, None),
    answer: (1, None),
    appeal: (2, None),
    acknowledge: (1, None),
    post: (3, None),
    sweep: (1, None),
}
NAMES = {act.__name__ for act in ACTS}
ROLES = {"nobody": 1, "citizen": 1, "officer": 1, "admin": 1, "first": 6, "other": 6, "lead": 6}
TRIES = 5  # until there is something to do it with


def step(world: World) -> str:
    """Somebody tries something. Returns what was done, or what kept them from it."""
    outcome = "nothing"
    for _try in range(TRIES):
        act = world.chance.choices(list(ACTS), [weight for weight, _view in ACTS.values()])[0]
        role, view = world.chance.choices(list(ROLES), list(ROLES.values()))[0], ACTS[act][1]
        world.now += timedelta(seconds=world.chance.choice([1, 4, 20, 700]))
        if view is not None and not world.allowed(role, view):
            return "kept out"
        savepoint = world.session.begin_nested()
        try:
            act(world, world.people[role])
            world.session.flush()
            savepoint.commit()
            return act.__name__
        except Nothing:
            savepoint.rollback()
        except DomainError as fault:
            savepoint.rollback()
            outcome = fault.error_code
            break
    return outcome


def look(session: Session) -> tuple[dict[str, str], list[list[str | None]]]:
    """Every state there is, and the whole audit."""
    row = session.execute(_SNAPSHOT).one()
    return row.states or {}, row.audit or []


def moves_told(entries: Sequence[Sequence[str | None]]) -> Counter[tuple[str, str]]:
    """What the audit says moved where."""
    told: Counter[tuple[str, str]] = Counter()
    for action, kind, subject_id, before, after in entries:
        name = "escalation_case" if kind == "case" else kind
        if action == "case.opened":
            told[f"{name}:{subject_id}", "queued"] += 1
        elif action in ("incident.opened", "incident.split_off", "incident.expired"):
            told[f"{name}:{subject_id}", str(after)] += 1
        elif after is not None and (before is not None or action == "case.no_contact") and before != after:
            told[f"{name}:{subject_id}", after] += 1
    return told


def moves_made(before: dict[str, str], after: dict[str, str]) -> Counter[tuple[str, str]]:
    """What did move where. Raises where no machine knows the move. Reports are there from the beginning."""
    made: Counter[tuple[str, str]] = Counter()
    for key, state in after.items():
        name, was = key.partition(":")[0], before.get(key)
        if was == state:
            continue
        machine = MACHINES[name]
        if was is None:
            if name == "escalation_case" and state == "no_contact":
                made[key, "queued"] += 1
            else:
                assert state == machine.initial, (key, state)
        else:
            assert machine.is_legal(was, state) or (name, was, state) in THROUGH, (key, was, state)
        made[key, state] += 1
    return made


def walk(world: World, depth: int, before: tuple[dict[str, str], list[list[str | None]]], path: list[str]) -> None:
    """Every path of the tree from here."""
    if depth == len(BRANCHES):
        world.walks += 1
        return
    for _branch in range(BRANCHES[depth]):
        start, savepoint = world.now, world.session.begin_nested()
        what = step(world)
        world.steps += 1
        world.done[what] += 1
        after = look(world.session) if what in NAMES else before  # a savepoint that was rolled back left nothing
        here = [*path, what]
        trail = " → ".join(here)
        told = {key: n for key, n in moves_told(after[1][len(before[1]) :]).items() if not _is_apart(key)}
        made = {key: n for key, n in moves_made(before[0], after[0]).items() if not _is_apart(key)}
        assert told == made, trail
        if what in NAMES:
            assert world.session.execute(FOUND).scalars().all() == [], trail
        walk(world, depth + 1, after, here)
        savepoint.rollback()
        world.session.expunge_all()
        world.now = start


def _is_apart(move: tuple[str, str]) -> bool:
    """Told by another entry than the row's own: a letter makes its case delivered, a question is its report's."""
    return move[0].startswith("question:") or (move[0].startswith("escalation_case:") and move[1] == "delivered")


@pytest.fixture
def allowed(app: Flask, session: Session) -> Callable[[str, str], bool]:
    """Whether a role may call a view, by what the view declares and the role holds."""
    from waterwatch.web.guards import declared_permission

    held = {row.name: set(row.permissions) for row in session.execute(text("SELECT name, permissions FROM role")).all()}
    names = {"officer": "agency_officer", "first": "moderator", "other": "moderator", "lead": "lead_moderator"}

    def may(role: str, view: str) -> bool:
        permission = declared_permission(app.view_functions[view])
        assert permission is not None
        return permission in held.get(names.get(role, role), set())

    return may


def make_world(
    session: Session, settings: Settings, allowed: Callable[[str, str], bool], now: datetime, seed: int
) -> World:
    """Two rivers, two departments, eight reports of which three are judged, everybody."""
    add_agency(session, "武汉局", ["duty@wuhan.example"])
    add_agency(session, "水务局", ["a@wuhan.example"], kind="water", min_severity=3)
    rivers = [add_river(session, "长江"), add_river(session, "汉江", lat=IN_WUHAN[1] + 0.005)]
    for number in range(8):
        kind = "all_clear" if number == 7 else "sewage_outfall"
        place = (IN_WUHAN[0] + number / 1000, IN_WUHAN[1])
        add_waiting(session, rivers[number % 2], now=now, minutes_old=number, at=place, kind=kind)
    people = {name: add_moderator(session, name, now=now) for name in ("first", "other", "lead", "officer", "admin")}
    role_id = session.execute(text("SELECT id FROM role WHERE name = 'lead_moderator'")).scalar_one()
    lead = people["lead"].id
    insert(session, "membership", person_id=lead, organisation_id=ORGANISATION, role_id=role_id, created_at=now)
    people |= {"nobody": Actor.anonymous(), "citizen": Actor.anonymous()}
    world = World(session, settings, people, allowed, rivers, random.Random(seed), now)
    waiting = (
        session.execute(text("SELECT id FROM report WHERE kind <> 'all_clear' ORDER BY id LIMIT 3")).scalars().all()
    )
    one, other = (
        service.grade_report(session, grading(report_id), settings=settings, actor=people[name], now=now)
        for report_id, name in zip(waiting, ("first", "other"), strict=False)
    )
    joining = grading(waiting[2], join_incident_id=one.id)
    service.grade_report(session, joining, settings=settings, actor=people["other"], now=now)
    assert other.id != one.id
    world.now += timedelta(seconds=3)
    return world


@pytest.mark.timeout(900)
def test_ten_thousand_random_walks_reach_no_state_that_must_not_be(
    session: Session,
    make_settings: Callable[..., Settings],
    allowed: Callable[[str, str], bool],
    now: datetime,
) -> None:
    settings, done, walks, seed = make_settings(question_wait_s=3600 * 36), Counter[str](), 0, 0
    while walks < WALKS:
        savepoint = session.begin_nested()
        world = make_world(session, settings, allowed, now, seed)
        session.flush()
        walk(world, 0, look(session), [])
        walks, seed = walks + world.walks, seed + 1
        done += world.done
        savepoint.rollback()
        session.expunge_all()
    assert walks == WALKS
    assert set(done) >= NAMES, done
    assert {"later_acts", "undo_over", "moved_on", "lease_lost", "kept out"} <= set(done), done
