import csv
import io
import json
import re
import uuid
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import text

from tests.escalation.rows import insert
from tests.officers.conftest import Desk
from tests.officers.rows import add_case, state_of
from tests.web.site import counting
from waterwatch.kernel.ids import new_id
from waterwatch.officers.rules import PAGE_ROWS
from waterwatch.officers.showing import BUCKET_WORDS

CODE = re.compile(r"/office/case/([0-9a-f-]{36})")


def listed(page: str) -> list[uuid.UUID]:
    """The cases of a page in their order."""
    return [uuid.UUID(found) for found in CODE.findall(page)]


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def test_what_is_due_first_stands_first_and_what_has_no_deadline_stands_last(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        later = add_case(session, desk.own, now=now, due_in_h=20)
        never = add_case(session, desk.own, now=now, state="queued")
        late = add_case(session, desk.own, now=now, due_in_h=-3)
        soon = add_case(session, desk.own, now=now, due_in_h=2, state="acknowledged")
        add_case(session, desk.own, now=now, state="closed")
        add_case(session, desk.stranger, now=now)
        add_case(session, desk.above, now=now)
        add_case(session, desk.below, now=now)
    assert listed(desk.get("/office/")) == [late, soon, later, never]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("show=acknowledge", ["delivered", "queued"]),
        ("show=answer", ["acknowledged"]),
        ("show=finish", ["answered"]),
        ("show=overdue", ["acknowledged"]),
        ("show=done", ["closed"]),
        ("show=refused", ["refused_not_ours"]),
        ("show=withdrawn", ["withdrawn"]),
        ("severity=4", ["answered"]),
        ("show=nonsense", ["acknowledged", "answered", "delivered", "queued"]),
    ],
)
def test_each_filter_shows_its_cases_alone(desk: Desk, now: datetime, question: str, expected: list[str]) -> None:
    with desk.rows() as session:
        states = {
            add_case(
                session,
                desk.own,
                now=now,
                state=state,
                severity=4 if state == "answered" else 2,
                due_in_h=-1 if state == "acknowledged" else 5,
            ): state
            for state in (
                *("queued", "delivered", "acknowledged", "answered", "closed", "refused_not_ours", "withdrawn"),
            )
        }
    assert sorted(states[case_id] for case_id in listed(desk.get(f"/office/?{question}"))) == expected


def test_the_numbers_above_the_list_are_those_of_the_list(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        for state, count in (("delivered", 3), ("acknowledged", 2), ("answered", 1), ("closed", 4)):
            for _one in range(count):
                add_case(session, desk.own, now=now, state=state, due_in_h=-1 if state == "answered" else 9)
    page = desk.get("/office/")
    numbers = re.findall(r"<strong>(\d+)</strong>([^<]+)</a>", page)
    assert {word: int(number) for number, word in numbers} == {
        "全部待办": 6,
        "已逾期": 1,
        "待确认": 3,
        "待答复": 2,
        "待办结": 1,
        "已办结": 4,
        "不归我们管": 0,
        "已撤回": 0,
        "事件已结束": 0,
    }


def test_pages_follow_each_other_without_losing_or_repeating_a_case(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        all_of_them = [
            add_case(session, desk.own, now=now, due_in_h=(number // 4) or None) for number in range(PAGE_ROWS + 7)
        ]
    first = desk.get("/office/")
    following = re.search(r'href="([^"]*after=[^"]+)"', first)
    assert following is not None
    second = desk.get(following[1].replace("&amp;", "&"))
    assert (len(listed(first)), len(listed(second))) == (PAGE_ROWS, 7)
    assert set(listed(first)) | set(listed(second)) == set(all_of_them)
    assert listed(desk.get("/office/?after=nonsense")) == listed(first)


def test_the_list_asks_the_database_four_questions_however_long_it_is(desk: Desk, now: datetime, app: Flask) -> None:
    with desk.rows() as session:
        for number in range(PAGE_ROWS + 3):
            case_id = add_case(session, desk.own, now=now, due_in_h=number)
            session.execute(
                text("""INSERT INTO case_assignment (id, case_id, office, assigned_at)
                        VALUES (:id, :case_id, '执法大队', now())"""),
                {"id": new_id(), "case_id": case_id},
            )
    desk.get("/office/")
    with counting(app) as sent:
        page = desk.get("/office/")
    # Beside them, whoever is signed in: the account and what it may do.
    asked = [one for one in sent if "escalation_case" in one or "agency_name" in one]
    assert len(asked) == 4
    assert page.count("执法大队") >= PAGE_ROWS


def test_cases_are_found_by_who_works_on_them(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        me = session.execute(text("SELECT id FROM person WHERE email = 'officer@demo.example'")).scalar_one()
        cases = {name: add_case(session, desk.own, now=now) for name in ("mine", "squad", "ended", "nobody")}
        for name, person_id, office, is_over in (
            ("mine", me, None, False),
            ("squad", None, "执法大队", False),
            ("ended", me, None, True),
        ):
            session.execute(
                text("""INSERT INTO case_assignment (id, case_id, person_id, office, assigned_at, ended_at)
                        VALUES (:id, :case_id, :person_id, :office, now(), CASE WHEN :is_over THEN now() END)"""),
                {
                    "id": new_id(),
                    "case_id": cases[name],
                    "person_id": person_id,
                    "office": office,
                    "is_over": is_over,
                },
            )
    assert listed(desk.get("/office/?whose=mine")) == [cases["mine"]]
    assert set(listed(desk.get("/office/?whose=nobody"))) == {cases["nobody"], cases["ended"]}
    assert listed(desk.get("/office/?whose=执法大队")) == [cases["squad"]]
    assert listed(desk.get("/office/?whose=officer@demo.example")) == [cases["mine"]]


def test_the_cases_of_agencies_below_are_looked_at_and_named(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        below = add_case(session, desk.below, now=now)
        add_case(session, desk.own, now=now)
        add_case(session, desk.stranger, now=now)
    page = desk.get("/office/?reach=below")
    assert listed(page) == [below]
    assert "武昌街道水务站" in page
    assert 'type="checkbox" name="case"' not in page


def test_who_works_at_an_agency_below_is_told_by_office_alone(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        person = session.execute(text("SELECT id FROM person WHERE email = 'lead@demo.example'")).scalar_one()
        both, alone = (add_case(session, desk.below, now=now, due_in_h=hours) for hours in (1, 2))
        for case_id, office in ((both, "执法大队"), (alone, None)):
            insert(session, "case_assignment", case_id=case_id, person_id=person, office=office, assigned_at=now)
    page = desk.get("/office/?reach=below")
    table = desk.get("/office/cases.csv?reach=below")
    features = json.loads(desk.get("/office/cases.geojson?reach=below"))["features"]
    assert "lead@demo.example" not in page + table + json.dumps(features)
    assert page.count("执法大队") == 1
    rows = list(csv.DictReader(io.StringIO(table.removeprefix("\ufeff"))))
    assert [row["assigned"] for row in rows] == ["执法大队", ""]
    assert [one["properties"]["assigned"] for one in features] == ["执法大队", ""]
    assert listed(desk.get("/office/?reach=below&whose=lead@demo.example")) == []
    assert listed(desk.get("/office/?reach=below&whose=执法大队")) == [both]


def test_a_case_taken_back_leaves_the_desk_without_its_place(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        add_case(session, desk.own, now=now, state="withdrawn", at=(114.4, 30.6))
    (row,) = csv.DictReader(io.StringIO(desk.get("/office/cases.csv?show=withdrawn").removeprefix("\ufeff")))
    assert (row["state"], row["lon"], row["lat"]) == ("withdrawn", "", "")
    (feature,) = json.loads(desk.get("/office/cases.geojson?show=withdrawn"))["features"]
    assert feature["geometry"] is None
    assert "114.4" not in json.dumps(feature)


def test_several_are_acknowledged_at_once_and_nobody_elses_are(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        own = [add_case(session, desk.own, now=now) for _one in range(3)]
        withdrawn = add_case(session, desk.own, now=now, state="withdrawn")
        below = add_case(session, desk.below, now=now)
    token = desk.visitor.token("/office/")
    data = {"csrf_token": token, "case": [str(one) for one in [*own, withdrawn, below]]}
    assert desk.visitor.client.post("/office/acknowledge", data=data).status_code == 303
    page = desk.get("/office/?show=answer")
    assert "已确认收到 3 件" in page
    assert "有 2 件没有确认" in page
    with desk.rows() as session:
        assert [state_of(session, one) for one in own] == ["acknowledged"] * 3
        assert [state_of(session, one) for one in (withdrawn, below)] == ["withdrawn", "delivered"]
        rows = session.execute(text("SELECT subject_id FROM audit_entry WHERE action = 'case.acknowledged'"))
        assert set(rows.scalars()) == set(own)


def test_a_foreign_case_among_them_acknowledges_none(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        own, foreign = add_case(session, desk.own, now=now), add_case(session, desk.stranger, now=now)
    data = {"csrf_token": desk.visitor.token("/office/"), "case": [str(own), str(foreign)]}
    assert desk.visitor.client.post("/office/acknowledge", data=data).status_code == 404
    with desk.rows() as session:
        assert [state_of(session, one) for one in (own, foreign)] == ["delivered", "delivered"]


@pytest.mark.parametrize("chosen", [[], ["nonsense"], [str(new_id()) for _one in range(101)]])
def test_nothing_chosen_or_too_much_changes_nothing_and_says_so(desk: Desk, chosen: list[str]) -> None:
    data = {"csrf_token": desk.visitor.token("/office/"), "case": chosen}
    assert desk.visitor.client.post("/office/acknowledge", data=data).status_code == 303
    assert "notice-warning" in desk.get("/office/")


def test_the_table_holds_what_the_list_shows_and_no_spreadsheet_computes_it(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        add_case(session, desk.own, now=now, water="=HYPERLINK(1)", due_in_h=-1)
        add_case(session, desk.own, now=now, state="closed")
    answer = desk.visitor.get("/office/cases.csv?show=overdue")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="waterwatch-cases.csv"'
    assert answer.headers["Cache-Control"] == "no-store"
    (row,) = csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")))
    assert row["water"] == "'=HYPERLINK(1)"
    assert (row["kind"], row["severity"], row["state"], row["is_late"]) == ("sewage_outfall", "3", "delivered", "True")
    assert (float(row["lon"]), float(row["lat"])) == (114.3055, 30.5928)


def test_the_map_is_given_the_same_cases_with_their_exact_places(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        case_id = add_case(session, desk.own, now=now, at=(114.4, 30.6))
        add_case(session, desk.stranger, now=now)
    answer = desk.visitor.get("/office/cases.geojson")
    assert answer.mimetype == "application/geo+json"
    (feature,) = json.loads(answer.text)["features"]
    assert feature["geometry"] == {"type": "Point", "coordinates": [114.4, 30.6]}
    assert feature["id"] == str(case_id)
    assert 'data-source="/office/cases.geojson"' in desk.get("/office/map")


def test_a_case_of_an_incident_that_has_ended_is_owed_no_more_and_listed_as_ended(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        late, answered = (
            add_case(session, desk.own, now=now, due_in_h=-5, state=state) for state in ("delivered", "answered")
        )
        open_one = add_case(session, desk.own, now=now, due_in_h=-5)
        session.execute(
            text("""UPDATE incident SET state = 'expired', closed_at = :now WHERE id IN (
                    SELECT incident_id FROM escalation_case WHERE id = ANY(:ids))"""),
            {"now": now, "ids": [late, answered]},
        )
    for bucket, cases in {
        "open": {open_one},
        "overdue": {open_one},
        "acknowledge": {open_one},
        "finish": set(),
        "ended": {late, answered},
    }.items():
        page = desk.get(f"/office/?show={bucket}")
        assert set(listed(page)) == cases, bucket
        assert f"<strong>{len(cases)}</strong>{BUCKET_WORDS[bucket]}" in page
    rows = list(csv.DictReader(io.StringIO(desk.visitor.get("/office/cases.csv?show=ended").text)))
    assert [(row["is_late"], row["deadline_at"]) for row in rows] == [("False", ""), ("False", "")]
    page = desk.get(f"/office/case/{late}")
    assert ("这起事件已经结束" in page, "已逾期" in page) == (True, False)
