"""Rules of competence: which one decides, what follows from them, what an edit would change, and the way back."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from tests.waters.database import Statements, rollback_session
from waterwatch.agencies import competence, registry
from waterwatch.agencies.competence import Rule, compile_everything, preview, remove_rule, restore_rule, set_rule
from waterwatch.agencies.tables import OBSERVATION_KINDS
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, NotFound
from waterwatch.reports.tables import KINDS

BY: dict[str, Any] = {"actor": Actor.system("tests")}


def told(session: Session, code: str) -> dict[str, int]:
    """By kind of observation, from which severity on the rules make an agency competent."""
    rows = session.execute(
        text("""SELECT c.observation_kind, c.min_severity FROM competence c JOIN agency a ON a.id = c.agency_id
                WHERE a.code = :code AND c.rule_id IS NOT NULL"""),
        {"code": code},
    )
    return {row.observation_kind: row.min_severity for row in rows}


def test_kinds_of_observation_are_those_of_reports() -> None:
    assert OBSERVATION_KINDS == KINDS


def test_the_program_comes_with_rules_that_name_what_the_departments_do(session: Session) -> None:
    assert told(session, "wuhan-agriculture") == {"farm_runoff": 1, "fish_kill": 1}
    assert told(session, "wuhan-ecology") == dict.fromkeys(OBSERVATION_KINDS, 1)
    own = session.execute(text("SELECT count(*) FROM competence WHERE rule_id IS NULL")).scalar_one()
    assert own == 0


def test_the_smaller_area_wins_then_the_named_kind_then_the_named_level(session: Session, now: datetime) -> None:
    def put(**facts: Any) -> None:
        set_rule(session, Rule("urban_management", **facts), now=now, **BY)

    assert "foam" not in told(session, "wuhan-06-urban")
    put(observation_kind="foam", min_severity=4)
    assert told(session, "wuhan-06-urban")["foam"] == 4
    put(observation_kind="foam", level="county", min_severity=3)
    assert (told(session, "wuhan-06-urban")["foam"], told(session, "wuhan-urban")["foam"]) == (3, 4)
    put(area_code="420000", min_severity=2)  # names neither, but the province is smaller than everywhere
    assert (told(session, "wuhan-06-urban")["foam"], told(session, "suzhou-urban")["foam"]) == (2, 4)
    put(area_code="420100", observation_kind="foam", is_competent=False)
    assert "foam" not in told(session, "wuhan-06-urban")
    assert told(session, "wuhan-06-urban")["oil_slick"] == 2
    put(area_code="420106", level="county", min_severity=1)
    assert told(session, "wuhan-06-urban") == dict.fromkeys(OBSERVATION_KINDS, 1)
    assert "foam" not in told(session, "wuhan-05-urban")


def test_an_edit_says_what_it_changes_and_a_preview_the_same_without_changing_it(
    session: Session, now: datetime
) -> None:
    rule = Rule("agriculture", "420100", None, "foam", 2)
    before = told(session, "wuhan-agriculture")
    expected = preview(session, rule, replaces=None, now=now, **BY)
    assert told(session, "wuhan-agriculture") == before
    assert [(one.observation_kind, one.verdict, one.agencies) for one in expected] == [("foam", "gained", 1)]
    made = set_rule(session, rule, now=now, **BY)
    assert made.changes == expected
    assert made.rule_id is not None
    later = set_rule(session, replace(rule, min_severity=4), now=now, **BY)
    assert [(one.observation_kind, one.verdict) for one in later.changes] == [("foam", "later")]
    sooner = set_rule(session, replace(rule, min_severity=1), now=now, **BY)
    assert [(one.observation_kind, one.verdict) for one in sooner.changes] == [("foam", "sooner")]
    with pytest.raises(NotFound):
        remove_rule(session, made.rule_id, now=now, **BY)  # another took its place
    assert sooner.rule_id is not None
    gone = remove_rule(session, sooner.rule_id, now=now, **BY)
    assert [(one.observation_kind, one.verdict, one.agencies) for one in gone.changes] == [("foam", "lost", 1)]
    back = restore_rule(session, sooner.rule_id, now=now, **BY)
    assert told(session, "wuhan-agriculture")["foam"] == 1
    assert back.rule_id not in (None, sooner.rule_id)
    past = registry.rules_of_the_past(session)
    assert {one.rule_id for one in past} == {made.rule_id, later.rule_id, sooner.rule_id}


def test_a_rule_for_the_whole_country_is_previewed_by_a_handful_of_statements(session: Session, now: datetime) -> None:
    with Statements(session) as sent:
        found = preview(session, Rule("ecology_environment", None, None, "foam", 3), replaces=None, now=now, **BY)
    assert [(one.verdict, one.agencies) for one in found] == [("later", 108)]
    assert len(sent) < 12


def test_just_the_same_rule_twice_is_refused(session: Session, now: datetime) -> None:
    rule = Rule("maritime", None, None, "oil_slick", 1)
    with pytest.raises(Conflict, match="rule_already_there"):
        set_rule(session, rule, now=now, **BY)


def test_an_agencys_own_competence_stands_beside_the_rules(session: Session, now: datetime) -> None:
    agency_id = registry.agency_id_of(session, "wuhan-agriculture")
    assert agency_id is not None
    session.execute(
        text("INSERT INTO competence (id, agency_id, observation_kind, min_severity) VALUES (:id, :a, 'foam', 2)"),
        {"id": uuid.uuid4(), "a": agency_id},
    )
    rule = Rule("agriculture", None, None, "foam", 3)
    assert preview(session, rule, replaces=None, now=now, **BY) == ()  # it has it anyway, and sooner
    set_rule(session, rule, now=now, **BY)
    assert competence.drop_own(session, agency_id, now=now, **BY) == 1
    assert told(session, "wuhan-agriculture")["foam"] == 3


def test_the_audit_keeps_both_sides_of_an_edit(session: Session, now: datetime) -> None:
    set_rule(session, Rule("maritime", None, None, "oil_slick", 2), now=now, **BY)
    entry = session.execute(text("SELECT * FROM audit_entry WHERE action = 'rule.set'")).one()
    assert (entry.before["min_severity"], entry.after["min_severity"], entry.after["gained"]) == (1, 2, 0)


# One agency of each level in one lineage, and one elsewhere, all of a kind; any rules about them.
TREE = {
    "420000-x": ("province", ("420000",)),
    "420100-x": ("prefecture", ("420100", "420000")),
    "420106-x": ("county", ("420106", "420100", "420000")),
    "420106-y": ("prefecture", ("420106", "420100", "420000")),  # of a higher rank than its area
    "320500-x": ("prefecture", ("320500", "320000")),
}
RULES = st.builds(
    Rule,
    st.just("maritime"),
    st.sampled_from([None, "420000", "420100", "420106", "320000"]),
    st.sampled_from([None, "county", "prefecture", "province"]),
    st.sampled_from([None, "foam", "oil_slick"]),
    st.integers(1, 4),
    st.booleans(),
)


def model(rules: Sequence[Rule]) -> dict[tuple[str, str], int]:
    """What follows from rules (later ones in the place of earlier ones about the same), said once more in Python."""
    stand = {(rule.area_code, rule.level, rule.observation_kind): rule for rule in rules}
    made = {}
    for code, (level, areas) in TREE.items():
        for kind in OBSERVATION_KINDS:
            able = [
                (
                    areas.index(rule.area_code) if rule.area_code is not None else 9,
                    rule.observation_kind is None,
                    rule.level is None,
                    rule.min_severity,
                    rule.is_competent,
                )
                for rule in stand.values()
                if rule.area_code in (None, *areas)
                and rule.level in (None, level)
                and rule.observation_kind in (None, kind)
            ]
            if able and min(able)[4]:
                made[code, kind] = min(able)[3]
    return made


@given(st.lists(RULES, max_size=9))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_rules_are_the_rows_follow_and_an_edit_touches_no_more_than_it_must(
    agencies_engine: Engine, rules: list[Rule]
) -> None:
    now = datetime.fromisoformat("2026-05-20T00:00:00+00:00")
    for session in rollback_session(agencies_engine):
        session.execute(text("UPDATE competence_rule SET retired_at = now() WHERE agency_kind = 'maritime'"))
        for code, (level, areas) in TREE.items():
            session.execute(
                text("""INSERT INTO agency (id, code, kind, level, jurisdiction_id)
                        SELECT gen_random_uuid(), :code, 'maritime', :level, id
                        FROM jurisdiction WHERE code = :area"""),
                {"code": code, "level": level, "area": areas[0]},
            )
        compile_everything(session)
        for rule in rules:
            try:
                set_rule(session, rule, now=now, **BY)
            except Conflict:
                continue
        rows = session.execute(
            text("""SELECT a.code, c.observation_kind, c.min_severity
                    FROM competence c JOIN agency a ON a.id = c.agency_id
                    WHERE a.kind = 'maritime'""")
        )
        assert {(row.code, row.observation_kind): row.min_severity for row in rows} == model(rules)
        assert compile_everything(session) == ()  # edit by edit is the same as all at once
