"""From a draft to the department and the public, corrected, and recalled when something in it has to go."""

import hashlib
import io
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from pypdf import PdfReader
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.bulletins.rows import (
    NOW,
    PERIOD,
    SYSTEM,
    Context,
    add_answer,
    add_department,
    add_entry,
    add_picture,
    context_of,
    files,
    make,
)
from tests.messaging.servers import HOST, Inbox, closed_port, kind_server
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.bulletins import jobs, service
from waterwatch.casework import service as casework
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid, Unavailable
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.states import IllegalMove
from waterwatch.messaging.attempts import Failure

People = dict[str, DemoPerson]


@pytest.fixture
def context(settings: Settings, sessions: sessionmaker[Session]) -> Context:
    return context_of(settings, sessions)


@pytest.fixture
def agency(sessions: sessionmaker[Session]) -> uuid.UUID:
    with transaction(sessions) as session:
        found = add_department(session, addresses=("a@example.org", "b@example.org"))
        add_entry(session, found)
        return found


def lead_of(context: Context, people: People) -> Actor:
    with transaction(context.sessions) as session:
        found = session.execute(text("SELECT id FROM person WHERE email = :email"), {"email": people["lead"].email})
        return Actor.person(found.scalar_one(), None)


def state_of(sessions: sessionmaker[Session], bulletin_id: uuid.UUID) -> str:
    with transaction(sessions) as session:
        return str(session.execute(text("SELECT state FROM bulletin WHERE id = :id"), {"id": bulletin_id}).scalar_one())


def letters(sessions: sessionmaker[Session]) -> list[tuple[str, str, int, str | None]]:
    with transaction(sessions) as session:
        rows = session.execute(
            text("SELECT address, state, attempts, last_error FROM bulletin_letter ORDER BY address")
        )
        return [tuple(row) for row in rows]


def messages(context: Context, topic: str) -> Iterator[outbox.Message]:
    """The rows a worker would have begun."""
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE outbox SET available_at = now() - interval '1 s', leased_until = NULL"))
        rings = outbox.lease(session, window=50, lease_s=30, topics=[topic])
        begun = [outbox.begin(session, ring.id, ring.lease_no, lease_s=30) for ring in rings]
    yield from (one for one in begun if one is not None)


def approve(context: Context, bulletin_id: uuid.UUID, people: People) -> int:
    with transaction(context.sessions) as session:
        return service.approve(
            session, bulletin_id, settings=context.settings, actor=lead_of(context, people), now=context.now()
        )


def at_port(context: Context, port: int, **changes: object) -> Context:
    values = {"smtp_url": f"smtp://{HOST}:{port}", "mail_from": "waters@example.org", **changes}
    return Context(context.settings.model_copy(update=values), context.sessions, context.objects)


def send_all(context: Context) -> list[EmailMessage]:
    """Run every letter's job against a server that takes all; gives what arrived."""
    inbox = Inbox()
    with kind_server(inbox) as port:
        there = at_port(context, port)
        for message in messages(there, service.TOPIC_SEND):
            jobs.send(there, message)
    found = [message_from_bytes(one.content or b"", policy=policy.default) for one in inbox.received]
    return [one for one in found if isinstance(one, EmailMessage)]


def test_a_quarter_that_ended_gets_its_drafts_once(context: Context, agency: uuid.UUID) -> None:
    assert jobs.propose_drafts(context) == 1
    assert jobs.propose_drafts(context) == 0
    made = list(messages(context, service.TOPIC_MAKE))
    for message in made:
        jobs.make(context, message)
        jobs.make(context, message)  # rung twice
    assert len(made) == 1
    with transaction(context.sessions) as session:
        row = session.execute(text("SELECT period, state, revision FROM bulletin")).one()
    assert tuple(row) == ("2026Q1", "draft", 1)


def test_a_period_that_is_not_over_has_no_bulletin(context: Context, agency: uuid.UUID) -> None:
    context.at = PERIOD.until - timedelta(seconds=1)
    with transaction(context.sessions) as session, pytest.raises(Invalid):
        service.propose(session, agency, PERIOD, actor=SYSTEM, now=context.now())


def test_approved_it_goes_to_every_address_once_with_its_files_and_is_archived(
    context: Context, agency: uuid.UUID, people: People
) -> None:
    bulletin_id = make(context, agency)
    assert approve(context, bulletin_id, people) == 2
    assert approve(context, bulletin_id, people) == 0
    arrived = send_all(context)
    assert sorted(str(one["To"]) for one in arrived) == ["a@example.org", "b@example.org"]
    assert send_all(context) == []
    assert state_of(context.sessions, bulletin_id) == "archived"
    attached = {part.get_filename(): part.get_payload(decode=True) for part in arrived[0].iter_attachments()}
    kept = files(context, bulletin_id)
    assert [name.rpartition(".")[2] for name in attached if name] == ["pdf", "csv"]
    assert list(attached.values()) == [kept["pdf1"], kept["csv1"]]
    assert PdfReader(io.BytesIO(kept["pdf1"])).pages
    assert "2026 年第 1 季度" in str(arrived[0]["Subject"])


def test_what_is_larger_than_the_budget_is_linked_instead(context: Context, agency: uuid.UUID, people: People) -> None:
    small = Context(context.settings.model_copy(update={"bulletin_mail_bytes": 10}), context.sessions, context.objects)
    approve(small, make(small, agency), people)
    (first, _second) = send_all(small)
    assert list(first.iter_attachments()) == []
    body = first.get_body(("plain",))
    assert body is not None
    assert re.search(r"http://localhost/bulletins/\S+/2026Q1/1", body.get_content())


def test_staging_writes_to_ourselves_and_says_for_whom(context: Context, agency: uuid.UUID, people: People) -> None:
    staged = Context(
        context.settings.model_copy(update={"staging_mail": "us@example.org"}), context.sessions, context.objects
    )
    approve(staged, make(staged, agency), people)
    arrived = send_all(staged)
    assert {str(one["To"]) for one in arrived} == {"us@example.org"}
    body = arrived[0].get_body(("plain",))
    assert body is not None
    assert re.search(r"测试环境.*[ab]@example\.org", body.get_content())


def test_one_address_that_refuses_holds_up_no_other(context: Context, agency: uuid.UUID, people: People) -> None:
    bulletin_id = make(context, agency)
    approve(context, bulletin_id, people)
    first, second = messages(context, service.TOPIC_SEND)
    with kind_server(Inbox({"RCPT": "550 no such person"})) as port:
        jobs.send(at_port(context, port), first)
    assert state_of(context.sessions, bulletin_id) == "approved"
    inbox = Inbox()
    with kind_server(inbox) as port:
        jobs.send(at_port(context, port), second)
    assert sorted(state for _address, state, _attempts, _error in letters(context.sessions)) == ["refused", "sent"]
    assert state_of(context.sessions, bulletin_id) == "archived"


def test_a_server_that_is_away_is_tried_again_and_given_up_in_the_end(
    context: Context, agency: uuid.UUID, people: People
) -> None:
    approve(context, make(context, agency), people)
    away = at_port(context, closed_port())
    first, _second = messages(context, service.TOPIC_SEND)
    with pytest.raises(Unavailable) as later:
        jobs.send(away, first)
    assert later.value.facts["retry_after_s"] == 2.0
    away.at = NOW + timedelta(hours=73)
    jobs.send(away, first)
    assert [state for _address, state, _attempts, _error in letters(context.sessions)].count("dead") == 1


def test_a_letter_another_worker_holds_is_left_alone(context: Context, agency: uuid.UUID, people: People) -> None:
    approve(context, make(context, agency), people)
    first, _second = messages(context, service.TOPIC_SEND)
    assert jobs._claim(context, uuid.UUID(first.payload["letter_id"]), first) is not None
    with pytest.raises(Unavailable):
        jobs.send(context, first)
    later = Context(context.settings, context.sessions, context.objects)
    later.at = NOW + timedelta(minutes=5)
    inbox = Inbox()
    with kind_server(inbox) as port:
        there = at_port(later, port)
        there.at = later.at
        jobs.send(there, first)
    assert len(inbox.received) == 1


def test_a_department_without_an_address_is_published_for_all_the_same(
    context: Context, sessions: sessionmaker[Session], people: People
) -> None:
    with transaction(sessions) as session:
        agency = add_department(session, addresses=())
    bulletin_id = make(context, agency)
    assert approve(context, bulletin_id, people) == 0
    assert state_of(sessions, bulletin_id) == "archived"


def test_a_foreword_is_printed_and_a_withheld_draft_says_why(
    context: Context, agency: uuid.UUID, people: People
) -> None:
    bulletin_id, actor = make(context, agency), lead_of(context, people)
    with transaction(context.sessions) as session:
        row = service.change_foreword(session, bulletin_id, "本季以黑臭为主。", actor=actor, now=NOW)
        revision = row.revision
        with pytest.raises(IllegalMove):
            service.withhold(session, bulletin_id, "还在生成", actor=actor, now=NOW)
    assert jobs.make_files(context, bulletin_id, 1) is False  # what was ordered before
    assert jobs.make_files(context, bulletin_id, revision)
    words = "".join(page.extract_text() for page in PdfReader(io.BytesIO(files(context, bulletin_id)["pdf1"])).pages)
    assert "本季以黑臭为主" in words
    with transaction(context.sessions) as session:
        with pytest.raises(Invalid):
            service.withhold(session, bulletin_id, " ", actor=actor, now=NOW)
        service.withhold(session, bulletin_id, "数据有误", actor=actor, now=NOW)
    with transaction(context.sessions) as session, pytest.raises(IllegalMove):
        service.approve(session, bulletin_id, settings=context.settings, actor=actor, now=NOW)


def test_a_correction_is_another_edition_that_names_the_one_before(
    context: Context, agency: uuid.UUID, people: People, visitor: Visitor
) -> None:
    bulletin_id, actor = make(context, agency), lead_of(context, people)
    with transaction(context.sessions) as session, pytest.raises(Conflict):
        service.correct(session, bulletin_id, actor=actor, now=NOW)
    approve(context, bulletin_id, people)
    with transaction(context.sessions) as session:
        row = service.correct(session, bulletin_id, actor=actor, now=NOW)
        second, revision = row.id, row.revision
    with transaction(context.sessions) as session, pytest.raises(Conflict):
        service.correct(session, bulletin_id, actor=actor, now=NOW)
    first_files = files(context, bulletin_id)
    assert jobs.make_files(context, second, revision)
    printed = PdfReader(io.BytesIO(files(context, second)["pdf1"])).pages[0].extract_text()
    assert "更正第1版" in re.sub(r"\s", "", printed)
    code = agency_code(context, agency)
    assert visitor.get(f"/bulletins/{code}/2026Q1/2").status_code == 404
    approve(context, second, people)
    assert visitor.get(f"/bulletins/{code}/2026Q1").location == f"/bulletins/{code}/2026Q1/2"
    old = visitor.get(f"/bulletins/{code}/2026Q1/1")
    assert "这一版已被更正" in old.text
    assert visitor.get(f"/bulletins/{code}/2026Q1/1/1.pdf").data == first_files["pdf1"]


def agency_code(context: Context, agency: uuid.UUID) -> str:
    with transaction(context.sessions) as session:
        return str(session.execute(text("SELECT code FROM agency WHERE id = :id"), {"id": agency}).scalar_one())


@pytest.fixture
def pictured(context: Context, people: People, tmp_path: Path) -> tuple[uuid.UUID, uuid.UUID, uuid.UUID, str]:
    """A public bulletin, a picture and an answer in it; its id, report's and incident's, and the department's code."""
    with transaction(context.sessions) as session:
        agency = add_department(session)
        incident_id, _code = add_entry(session, agency)
        add_answer(session, incident_id, "已责成整改")
        report_id = add_picture(session, incident_id, context.objects, tmp_path)
    bulletin_id = make(context, agency)
    approve(context, bulletin_id, people)
    return bulletin_id, report_id, incident_id, agency_code(context, agency)


_SPOIL = {
    "the photo is gone": "DELETE FROM report_photo; DELETE FROM photo",
    "another face is covered": "UPDATE photo_derivative SET sha256 = decode(repeat('ab', 32), 'hex')",
    "a cover is ordered": "UPDATE photo SET redaction_wanted_at = now()",
    "the report was refused after all": "UPDATE report SET state = 'refused', refusal_code = 'unclear'",
    "the incident was taken back": "UPDATE incident SET state = 'retracted', closed_at = now()",
    "an answer was withheld": "UPDATE case_answer SET state = 'withheld', withheld_reason = 'personal_data'",
    "an answer's words are gone": "UPDATE case_answer SET words = NULL, erased_at = now()",
    "an answer is gone": "DELETE FROM case_answer",
}


@pytest.mark.parametrize("change", _SPOIL.values(), ids=_SPOIL)
def test_what_has_to_go_goes_at_once_and_a_corrected_edition_is_ordered(
    context: Context, pictured: tuple[uuid.UUID, uuid.UUID, uuid.UUID, str], visitor: Visitor, change: str
) -> None:
    bulletin_id, _report_id, _incident_id, code = pictured
    path = f"/bulletins/{code}/2026Q1/1"
    assert visitor.get(f"{path}/1.pdf").status_code == 200
    kept = [item.key for item in context.objects.list("bulletins/")]
    assert jobs.recall_spoilt(context) == 0
    with transaction(context.sessions) as session:
        for statement in change.split(";"):
            session.execute(text(statement))
    assert visitor.get(f"{path}/1.pdf").status_code == 410  # before anybody swept
    assert "已经撤下" in visitor.get(path).text
    assert jobs.recall_spoilt(context) == 1
    assert jobs.recall_spoilt(context) == 0
    assert [context.objects.has(key) for key in kept] == [False, False]
    assert visitor.get(f"{path}/1.csv").status_code == 410
    with transaction(context.sessions) as session:
        rows = session.execute(text("SELECT edition, state, corrects_id FROM bulletin ORDER BY edition")).all()
        letter = session.execute(text("SELECT state FROM bulletin_letter")).scalar_one()
    assert [tuple(row) for row in rows] == [(1, "recalled", None), (2, "making", bulletin_id)]
    assert letter == "cancelled"


def test_an_answer_taken_back_goes_out_in_no_letter_that_waits_and_in_no_later_edition(
    context: Context, pictured: tuple[uuid.UUID, uuid.UUID, uuid.UUID, str], people: People
) -> None:
    bulletin_id, _report_id, _incident_id, _code = pictured
    table, printed = (files(context, bulletin_id)[name] for name in ("csv1", "pdf1"))
    assert "已责成整改" in table.decode()
    assert "已责成整改" in text_of(printed)
    with transaction(context.sessions) as session:
        answer_id = session.execute(text("SELECT id FROM case_answer")).scalar_one()
        casework.withhold_answer(session, answer_id, "personal_data", actor=lead_of(context, people), now=NOW)
    assert send_all(context) == []
    assert [row[1:] for row in letters(context.sessions)] == [("refused", 1, "bulletin_is_spoilt")]
    assert jobs.recall_spoilt(context) == 1
    with transaction(context.sessions) as session:
        second = session.execute(text("SELECT id FROM bulletin WHERE corrects_id = :id"), {"id": bulletin_id})
        second_id = second.scalar_one()
    assert jobs.make_files(context, second_id, 1)
    table, printed = (files(context, second_id)[name] for name in ("csv1", "pdf1"))
    assert "已责成整改" not in table.decode()
    assert "已责成整改" not in text_of(printed)
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE case_answer SET words = NULL, erased_at = now()"))
    assert jobs.recall_spoilt(context) == 0


def text_of(printed: bytes) -> str:
    """A PDF's words, as they stand one after another."""
    return re.sub(r"\s", "", "".join(page.extract_text() for page in PdfReader(io.BytesIO(printed)).pages))


@pytest.mark.parametrize("is_killed", [False, True], ids=["put off", "killed"])
def test_a_recalled_bulletin_is_not_sent_by_a_letter_that_was_under_way(
    context: Context, pictured: tuple[uuid.UUID, uuid.UUID, uuid.UUID, str], is_killed: bool
) -> None:
    (message,) = messages(context, service.TOPIC_SEND)
    claim = jobs._claim(context, uuid.UUID(message.payload["letter_id"]), message)
    assert claim is not None
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE incident SET state = 'retracted', closed_at = now()"))
    assert jobs.recall_spoilt(context) == 1
    if is_killed:  # its claim runs out, and somebody else takes it up
        context.at = NOW + timedelta(minutes=5)
        inbox = Inbox()
        with kind_server(inbox) as port:
            there = at_port(context, port)
            there.at = context.at
            jobs.send(there, message)
        assert inbox.received == []
    else:
        assert jobs._hand_over(context, claim) == Failure("bulletin_is_spoilt", is_permanent=True)
        assert jobs._record(context, claim, Failure("450", is_deferred=True), message) is None
    assert [state for _address, state, _attempts, _error in letters(context.sessions)] == ["cancelled"]
    assert state_of(context.sessions, pictured[0]) == "recalled"


def test_a_spoilt_draft_is_made_anew_and_approved_by_nobody(
    context: Context, agency: uuid.UUID, people: People, tmp_path: Path
) -> None:
    bulletin_id = make(context, agency)
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE incident SET state = 'retracted', closed_at = now()"))
    with pytest.raises(Conflict):
        approve(context, bulletin_id, people)
    assert jobs.recall_spoilt(context) == 1
    assert state_of(context.sessions, bulletin_id) == "making"
    assert jobs.make_files(context, bulletin_id, 2)
    approve(context, bulletin_id, people)


def test_pages_for_everybody_show_what_is_public_and_nothing_else(
    context: Context, agency: uuid.UUID, people: People, visitor: Visitor
) -> None:
    code = agency_code(context, agency)
    bulletin_id = make(context, agency)
    for path in (f"/bulletins/{code}/2026Q1", f"/bulletins/{code}/2026Q1/1", f"/bulletins/{code}/2026Q1/1/1.pdf"):
        assert visitor.get(path).status_code == 404
    assert code not in visitor.get("/bulletins").text
    approve(context, bulletin_id, people)
    assert f"/bulletins/{code}/2026Q1/1" in visitor.get("/bulletins").text
    assert f"/bulletins/{code}/2026Q1/1" in visitor.get(f"/bulletins/{code}").text
    page = visitor.get(f"/bulletins/{code}/2026Q1/1").text
    kept = files(context, bulletin_id)
    assert all(hashlib.sha256(content).hexdigest() in page for content in kept.values())
    served = visitor.get(f"/bulletins/{code}/2026Q1/1/1.csv")
    assert served.data == kept["csv1"]
    assert served.headers["Content-Disposition"].startswith("attachment")
    for path in (f"/bulletins/{code}/2026Q1/1/2.pdf", f"/bulletins/{code}/2026Q1/7", "/bulletins/none/2026Q1"):
        assert visitor.get(path).status_code == 404


@pytest.mark.parametrize(("who", "status"), [(None, 302), ("officer", 403), ("moderator", 403), ("lead", 200)])
def test_reviewing_is_for_the_lead(
    context: Context, agency: uuid.UUID, people: People, visitor: Visitor, who: str | None, status: int
) -> None:
    bulletin_id = make(context, agency)
    if who:
        visitor.sign_in(people[who])
    for path in ("", f"/{bulletin_id}", f"/{bulletin_id}/pdf/1"):
        assert visitor.get(f"/desk/bulletins{path}").status_code == status


def test_a_bulletin_is_ordered_by_the_departments_name_unless_two_are_called_so(
    context: Context, agency: uuid.UUID, people: People, visitor: Visitor
) -> None:
    visitor.sign_in(people["lead"])
    desk, called = "/desk/bulletins", "甲市水务局"
    with transaction(context.sessions) as session:
        session.execute(
            text("UPDATE agency_name SET name = :name WHERE agency_id = :id"), {"name": called, "id": agency}
        )
    code = agency_code(context, agency)
    assert visitor.post(desk, {"agency": called, "period": "2026-02"}, page=desk).status_code == 303
    with transaction(context.sessions) as session:
        assert session.execute(text("SELECT agency_id FROM bulletin WHERE period = '2026-02'")).scalar_one() == agency
        add_department(session, called)
    refused = visitor.post(desk, {"agency": called, "period": "2026-01"}, page=desk)
    assert (refused.status_code, "不止一个，请写部门代码" in refused.text) == (400, True)
    assert visitor.post(desk, {"agency": code, "period": "2026-01"}, page=desk).status_code == 303


def test_the_lead_reviews_in_the_browser(context: Context, agency: uuid.UUID, people: People, visitor: Visitor) -> None:
    bulletin_id = make(context, agency)
    visitor.sign_in(people["lead"])
    page = f"/desk/bulletins/{bulletin_id}"
    assert '公报 <span class="tag tag-care">1</span>' in visitor.get("/desk/").text
    assert "a@example.org" in visitor.get(page).text
    visitor.post(f"{page}/withhold", {"reason": ""}, page=page)
    assert "请写下理由" in visitor.get(page).text
    visitor.post(f"{page}/foreword", {"foreword": "字" * 2001}, page=page)
    assert "前言最多 2000 字" in visitor.get(page).text
    assert visitor.post(f"{page}/approve", {}, page=page).status_code == 303
    assert "已公开，将发往 2 个地址" in visitor.get(page).text
    again = visitor.post(f"{page}/correct", {}, page=page)
    assert again.status_code == 303
    assert "正在生成" in visitor.get(str(again.location)).text
    desk = "/desk/bulletins"
    visitor.post(desk, {"agency": "none", "period": "2026Q1"}, page=desk)
    assert (
        visitor.post(desk, {"agency": agency_code(context, agency), "period": "2026-02"}, page=desk).status_code == 303
    )
    refused = visitor.post(desk, {"agency": "没有这个局", "period": "2026Q1"}, page=desk)
    assert (refused.status_code, "没有这个部门" in refused.text) == (400, True)
    assert 'value="没有这个局"' in refused.text
    assert 'value="2026Q1"' in refused.text
    refused = visitor.post(desk, {"agency": agency_code(context, agency), "period": "gestern"}, page=desk)
    assert (refused.status_code, "没有看懂时间" in refused.text, 'value="gestern"' in refused.text) == (400, True, True)
    with transaction(context.sessions) as session:
        periods = session.execute(text("SELECT period, edition FROM bulletin ORDER BY period, edition")).all()
    assert [tuple(row) for row in periods] == [("2026-02", 1), ("2026Q1", 1), ("2026Q1", 2)]
