import re
import uuid

import pyotp
import pytest
from flask import Flask
from sqlalchemy import text

from tests.officers.conftest import Desk
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.sealing import open_value
from waterwatch.kernel.settings import Settings
from waterwatch.postbox.service import PURPOSE

PASSWORD = "a river runs through wuchang"
NEW = "li@wuchang.example"


def letters(desk: Desk, settings: Settings) -> list[str]:
    """What the postbox was given, oldest first."""
    with desk.rows() as session:
        rows = session.execute(text("SELECT id, sealed FROM posting ORDER BY created_at, id")).all()
    return [open_value(settings, PURPOSE, row.id, row.sealed).decode() for row in rows]


def link_to_join(desk: Desk, settings: Settings) -> str:
    found = re.search(r"/office/join/[\w-]+", letters(desk, settings)[-1])
    assert found is not None
    return found[0]


def join(visitor: Visitor, path: str, password: str = PASSWORD) -> int:
    return visitor.post(path, {"password": password}).status_code


@pytest.fixture
def newcomer(app: Flask) -> Visitor:
    """Another browser."""
    return Visitor(app.test_client())


def test_a_colleague_is_invited_sets_a_password_and_may_not_enter_without_a_second_factor(
    desk: Desk, settings: Settings, newcomer: Visitor
) -> None:
    assert desk.post("/office/colleagues", {"email": "Li@Wuchang.example"}) == 303
    assert NEW not in desk.get("/office/colleagues")
    path = link_to_join(desk, settings)
    page = newcomer.get(path)
    assert "加入武昌区水务局的工作台" in page.text
    assert page.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert join(newcomer, path) == 303
    assert NEW in desk.get("/office/colleagues")
    assert "还没有登录过" in desk.get("/office/colleagues")
    person = DemoPerson(NEW, PASSWORD, "agency_officer", pyotp.random_base32())
    newcomer.give_password(person)
    assert newcomer.get("/office/").status_code == 302
    setup = newcomer.get("/tf-setup", follow_redirects=True)
    assert "验证器" in setup.text


def test_an_invitation_is_taken_up_once(desk: Desk, settings: Settings, newcomer: Visitor) -> None:
    desk.post("/office/colleagues", {"email": NEW})
    path = link_to_join(desk, settings)
    assert join(newcomer, path, "too short") == 400
    assert [join(newcomer, path), join(newcomer, path, "another password of mine")] == [303, 409]


def test_whoever_invites_learns_nothing_of_an_address(
    desk: Desk, settings: Settings, people: dict[str, DemoPerson], newcomer: Visitor
) -> None:
    pages = []
    for email in (NEW, people["moderator"].email):
        desk.post("/office/colleagues", {"email": email})
        pages.append(re.sub(r'value="[^"]*"', "", desk.get("/office/colleagues")))
    assert pages[0] == pages[1]
    assert len(letters(desk, settings)) == 2
    assert join(newcomer, link_to_join(desk, settings)) == 409  # what it is, its owner alone is told
    with desk.rows() as session:
        assert "@" not in str(session.execute(text("SELECT after, before FROM audit_entry")).all())


def test_an_address_is_not_pestered(desk: Desk, settings: Settings) -> None:
    for _time in range(5):
        assert desk.post("/office/colleagues", {"email": NEW}) == 303
    assert len(letters(desk, settings)) == 3


@pytest.mark.parametrize("email", ["", "nobody", "a@b@c", "x" * 300 + "@example.org"])
def test_what_is_no_address_is_said(desk: Desk, email: str) -> None:
    assert desk.post("/office/colleagues", {"email": email}) == 400


def test_whoever_leaves_is_out_at_once_and_their_invitations_with_them(
    desk: Desk, settings: Settings, newcomer: Visitor, app: Flask
) -> None:
    desk.post("/office/colleagues", {"email": NEW})
    join(newcomer, link_to_join(desk, settings))
    with desk.rows() as session:
        row = session.execute(text("SELECT id, fs_uniquifier FROM person WHERE email = :email"), {"email": NEW}).one()
    assert desk.post(f"/office/colleagues/{row.id}/remove") == 303
    with desk.rows() as session:
        left = session.execute(text("SELECT active, fs_uniquifier FROM person WHERE id = :id"), {"id": row.id}).one()
        held = session.execute(text("SELECT count(*) FROM membership WHERE person_id = :id"), {"id": row.id})
        assert (left.active, left.fs_uniquifier != row.fs_uniquifier, held.scalar_one()) == (False, True, 0)
    person = DemoPerson(NEW, PASSWORD, "agency_officer", pyotp.random_base32())
    assert "邮箱或密码不正确" in newcomer.give_password(person).text or newcomer.get("/office/").status_code == 302
    # And comes back by a new invitation, with another password and no old second factor.
    desk.post("/office/colleagues", {"email": NEW})
    assert join(newcomer, link_to_join(desk, settings), "a lake lies beside hanyang") == 303
    assert NEW in desk.get("/office/colleagues")


def test_whoever_was_removed_does_not_come_back_by_an_invitation_from_before(
    desk: Desk, settings: Settings, newcomer: Visitor
) -> None:
    desk.post("/office/colleagues", {"email": NEW})
    path = link_to_join(desk, settings)
    assert join(newcomer, path) == 303
    with desk.rows() as session:
        person_id = session.execute(text("SELECT id FROM person WHERE email = :email"), {"email": NEW}).scalar_one()
    csrf_token = newcomer.token(path)
    assert desk.post(f"/office/colleagues/{person_id}/remove") == 303
    again = newcomer.client.post(path, data={"csrf_token": csrf_token, "password": PASSWORD})
    assert (again.status_code, "邀请已失效" in again.text) == (410, True)
    assert newcomer.get(path).status_code == 410
    with desk.rows() as session:
        active = session.execute(text("SELECT active FROM person WHERE id = :id"), {"id": person_id}).scalar_one()
        held = session.execute(text("SELECT count(*) FROM membership WHERE person_id = :id"), {"id": person_id})
        assert (active, held.scalar_one()) == (False, 0)


def test_an_invitation_ends_when_whoever_sent_it_leaves(desk: Desk, settings: Settings, newcomer: Visitor) -> None:
    desk.post("/office/colleagues", {"email": NEW})
    path = link_to_join(desk, settings)
    with desk.rows() as session:
        session.execute(text("DELETE FROM membership WHERE agency_code = 'wuchang-water'"))
    page = newcomer.get(path)
    assert page.status_code == 410
    assert "邀请已失效" in page.text


def test_nobody_removes_themselves_or_somebody_of_another_agency(desk: Desk, people: dict[str, DemoPerson]) -> None:
    with desk.rows() as session:
        ids = {row.email: row.id for row in session.execute(text("SELECT email, id FROM person"))}
    assert desk.post(f"/office/colleagues/{ids['officer@demo.example']}/remove") == 303
    assert "不能移除自己" in desk.get("/office/colleagues")
    assert desk.post(f"/office/colleagues/{ids['moderator@demo.example']}/remove") == 404
    assert desk.post(f"/office/colleagues/{uuid.uuid4()}/remove") == 404


def test_how_letters_come_is_chosen_and_put_on_record_once(desk: Desk) -> None:
    fields = {"digest_upto": "2", "digest_at": "08:30"}
    assert [desk.post("/office/settings", fields) for _time in range(2)] == [303, 303]
    page = desk.get("/office/settings")
    assert 'value="2" checked' in page
    assert 'value="08:30"' in page
    assert "wuchang-water@agency.example" in page
    with desk.rows() as session:
        agency = session.execute(text("SELECT digest_upto, digest_at FROM agency WHERE code = 'wuchang-water'")).one()
        assert (agency.digest_upto, agency.digest_at.isoformat()) == (2, "08:30:00")
        (act,) = session.execute(text("SELECT after FROM audit_entry WHERE action = 'agency.digest_chosen'")).scalars()
        assert act == {"digest_upto": 2, "digest_at": "08:30"}


@pytest.mark.parametrize(
    "fields", [{"digest_upto": "4", "digest_at": "09:00"}, {"digest_upto": "1", "digest_at": "25"}]
)
def test_a_choice_that_is_none_is_refused(desk: Desk, fields: dict[str, str]) -> None:
    assert desk.post("/office/settings", fields) == 400


def test_an_officer_begins_at_the_desk(desk: Desk) -> None:
    assert desk.visitor.get("/account/start").headers["Location"] == "/office/"
