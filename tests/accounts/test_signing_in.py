"""Signing in with two factors, and everything that must not work instead."""

import re
import time
from urllib.parse import urljoin, urlsplit

import pyotp
import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.officers.rows import OWN, add_office
from tests.web.site import Visitor, acts
from waterwatch.accounts.rules import DEMO_PASSWORD
from waterwatch.accounts.service import CreatePerson, DemoPerson, create_person
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction

People = dict[str, DemoPerson]
WRONG = "邮箱或密码不正确"


def code_of(person: DemoPerson) -> str:
    return pyotp.TOTP(person.totp_secret).now()


def wrong_code(person: DemoPerson) -> str:
    """A code no step near the present one has."""
    return next(
        code
        for code in ("000000", "111111", "222222")
        if not pyotp.TOTP(person.totp_secret).verify(code, valid_window=4)
    )


def newcomer(sessions: sessionmaker[Session], role: str = "moderator") -> DemoPerson:
    """Somebody whose account was made today and who has no second factor yet."""
    email = f"new-{role}@demo.example".replace("_", "-")
    with transaction(sessions) as session:
        create_person(session, CreatePerson(email, DEMO_PASSWORD, role), actor=Actor.system("operator"), now=utc_now())
    return DemoPerson(email, DEMO_PASSWORD, role, "")


def test_password_and_code_lead_to_the_page_somebody_came_for(visitor: Visitor, people: People) -> None:
    asked = visitor.get("/desk/")
    assert (asked.status_code, asked.location) == (302, "/login?next=/desk/")
    first = visitor.give_password(people["moderator"], next_page="/desk/")
    assert first.location == "/tf-validate?next=/desk/"
    second = visitor.post("/tf-validate?next=/desk/", {"code": code_of(people["moderator"])})
    assert second.location == "/desk/"
    assert visitor.get("/desk/").status_code == 200


@pytest.mark.parametrize(("who", "where"), [("moderator", "/desk/"), ("officer", "/office/"), ("admin", "/account")])
def test_each_role_begins_on_a_page_it_may_open(
    visitor: Visitor, people: People, sessions: sessionmaker[Session], who: str, where: str
) -> None:
    with transaction(sessions) as session:
        add_office(session, OWN, "武昌区水务局")
    response = visitor.client.get(visitor.sign_in(people[who]).location, follow_redirects=True)
    assert (response.status_code, response.request.path) == (200, where)


def test_the_password_alone_opens_nothing(visitor: Visitor, people: People) -> None:
    visitor.give_password(people["moderator"])
    assert visitor.get("/desk/").location == "/login?next=/desk/"


def test_a_wrong_password_and_an_unknown_address_are_answered_alike(visitor: Visitor, people: People) -> None:
    known = visitor.give_password(people["moderator"], password="not-the-password")
    stranger = DemoPerson("nobody@demo.example", "x", "", "")
    unknown = visitor.give_password(stranger, password="not-the-password")
    for response in (known, unknown):
        assert response.status_code == 200
        assert WRONG in response.text
    strip = re.compile(r'value="[^"]*"')
    assert strip.sub("", known.text) == strip.sub("", unknown.text)


def test_a_wrong_code_is_refused_and_audited(visitor: Visitor, people: People, sessions: sessionmaker[Session]) -> None:
    visitor.give_password(people["moderator"])
    response = visitor.give_code(wrong_code(people["moderator"]))
    assert "验证码不正确或已过期" in response.text
    assert visitor.get("/desk/").status_code == 302
    assert acts(sessions) == ["person.second_factor_refused"]


def test_a_wrong_password_leaves_no_word_about_anybody(
    visitor: Visitor, people: People, sessions: sessionmaker[Session]
) -> None:
    visitor.give_password(people["moderator"], password="not-the-password")
    assert acts(sessions) == []
    metrics = visitor.get("/metrics").text
    assert 'waterwatch_sign_in_failures_total{step="password"} 1.0' in metrics


def test_an_old_code_is_refused(visitor: Visitor, people: People) -> None:
    visitor.give_password(people["moderator"])
    totp = pyotp.TOTP(people["moderator"].totp_secret)
    old = totp.at(utc_now(), counter_offset=-3)
    assert "验证码不正确或已过期" in visitor.give_code(old).text


def test_a_code_admits_once_though_it_is_still_on_the_screen(app: Flask, people: People) -> None:
    """Whoever looked over a shoulder has thirty seconds, and no use of them."""
    person = people["moderator"]
    code = code_of(person)
    owner, onlooker = Visitor(app.test_client()), Visitor(app.test_client())
    for visitor in (owner, onlooker):
        assert visitor.give_password(person).status_code == 302
    assert owner.give_code(code).status_code == 302
    assert "验证码不正确或已过期" in onlooker.give_code(code).text
    assert onlooker.get("/desk/").status_code == 302
    following = pyotp.TOTP(person.totp_secret).at(int(time.time()) + 30)
    assert onlooker.give_code(following).status_code == 302


def test_a_form_without_its_token_is_refused_kindly(visitor: Visitor, people: People) -> None:
    person = people["moderator"]
    response = visitor.client.post("/login", data={"email": person.email, "password": person.password})
    assert response.status_code == 400
    assert "安全校验已过期" in response.text


def test_json_is_no_way_around_the_token(visitor: Visitor, people: People) -> None:
    person = people["moderator"]
    response = visitor.client.post("/login", json={"email": person.email, "password": person.password})
    assert response.status_code == 400


def lead_host(location: str | None) -> str:
    """The host a browser would go to: it reads a backslash as a slash."""
    return urlsplit(urljoin("http://localhost/login", (location or "").replace("\\", "/"))).netloc


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/\\evil.example", "https:evil.example"]
)
def test_nobody_is_sent_to_another_site_after_signing_in(visitor: Visitor, people: People, elsewhere: str) -> None:
    first = visitor.give_password(people["moderator"], next_page=elsewhere)
    assert lead_host(first.location) == "localhost"
    visitor.give_password(people["moderator"])
    data = {"csrf_token": visitor.token("/tf-validate"), "code": code_of(people["moderator"]), "next": elsewhere}
    second = visitor.client.post("/tf-validate", query_string={"next": elsewhere}, data=data)
    assert second.status_code == 302
    assert lead_host(second.location) == "localhost"


def test_staff_set_up_their_second_factor_before_anything_else(
    visitor: Visitor, sessions: sessionmaker[Session]
) -> None:
    person = newcomer(sessions)
    assert visitor.give_password(person).location == "/tf-setup"
    assert visitor.get("/desk/").status_code == 302
    page = visitor.post("/tf-setup", {"setup": "authenticator"})
    assert 'src="data:image/svg+xml;base64,' in page.text
    assert "style=" not in page.text
    secret = re.search(r'class="code">([A-Z2-7 -]+)<', page.text)
    assert secret is not None
    found = DemoPerson(person.email, person.password, person.role, re.sub(r"[ -]", "", secret[1]))
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    done = visitor.client.post("/tf-validate", data={"csrf_token": token[1], "code": code_of(found)})
    assert done.status_code == 302, done.text
    assert visitor.get("/desk/").status_code == 200
    assert acts(sessions) == ["person.second_factor_set_up", "person.signed_in"]


def test_staff_cannot_give_up_their_second_factor(
    visitor: Visitor, people: People, sessions: sessionmaker[Session]
) -> None:
    visitor.sign_in(people["moderator"])
    visitor.post("/tf-setup", {"setup": "disable"})
    with transaction(sessions) as session:
        methods = session.execute(
            text("SELECT tf_primary_method FROM person WHERE email LIKE 'moderator@%'")
        ).scalar_one()
    assert methods == "authenticator"


def test_a_second_factor_is_changed_only_with_a_code_of_the_new_one(
    visitor: Visitor, people: People, sessions: sessionmaker[Session]
) -> None:
    visitor.sign_in(people["moderator"])
    page = visitor.post("/tf-setup", {"setup": "authenticator"})
    action = re.search(r'action="(/tf-setup/[^"]+)"', page.text)
    key = re.search(r'class="code">([A-Z2-7 -]+)<', page.text)
    assert action is not None
    assert key is not None
    path, new = action[1], pyotp.TOTP(re.sub(r"[ -]", "", key[1]))
    visitor.post(path, {"code": code_of(people["moderator"])}, page="/account")
    assert "person.second_factor_changed" not in acts(sessions)
    assert visitor.post(path, {"code": new.now()}, page="/account").location == "/account"
    assert acts(sessions)[-1] == "person.second_factor_changed"


def test_a_recovery_code_works_once(app: Flask, people: People, sessions: sessionmaker[Session]) -> None:
    first = Visitor(app.test_client())
    first.sign_in(people["moderator"])
    page = first.post("/mf-recovery-codes", {"generate_new_codes": "1"})
    codes = re.findall(r'class="code">([0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4})<', page.text)
    assert len(codes) == 8
    with transaction(sessions) as session:
        kept = session.execute(
            text("SELECT mf_recovery_codes::text FROM person WHERE email LIKE 'moderator@%'")
        ).scalar_one()
    assert not any(code in kept for code in codes)

    second = Visitor(app.test_client())
    second.give_password(people["moderator"])
    assert second.post("/mf-recovery", {"code": f" {codes[0].upper()} "}).status_code == 302
    assert second.get("/desk/").status_code == 200

    third = Visitor(app.test_client())
    third.give_password(people["moderator"])
    assert "恢复码不正确或已经用过" in third.post("/mf-recovery", {"code": codes[0]}).text
    assert third.get("/desk/").status_code == 302
    assert acts(sessions)[1:] == [
        "person.recovery_codes_made",
        "person.recovery_code_used",
        "person.signed_in",
        "person.second_factor_refused",
    ]


def test_signing_out_ends_copied_sessions_too(
    app: Flask, visitor: Visitor, people: People, sessions: sessionmaker[Session]
) -> None:
    visitor.sign_in(people["moderator"])
    cookie = visitor.client.get_cookie("waterwatch")
    assert cookie is not None
    thief = Visitor(app.test_client())
    thief.client.set_cookie("waterwatch", cookie.value)
    assert thief.get("/desk/").status_code == 200
    assert visitor.post("/logout", page="/account").location == "/"
    assert visitor.get("/desk/").status_code == 302
    assert thief.get("/desk/").status_code == 302
    assert acts(sessions) == ["person.signed_in", "person.signed_out"]


def test_signing_out_needs_the_form(visitor: Visitor, people: People) -> None:
    visitor.sign_in(people["moderator"])
    assert visitor.get("/logout").status_code == 405
    assert visitor.client.post("/logout").status_code == 400
    assert visitor.get("/desk/").status_code == 200


def test_a_token_of_before_signing_in_is_worth_nothing_after(visitor: Visitor, people: People) -> None:
    planted = visitor.token("/login")
    visitor.sign_in(people["moderator"])
    assert visitor.client.post("/desk/next", data={"csrf_token": planted}).status_code == 400


def test_an_answer_that_comes_late_does_not_undo_what_another_kept_in_the_session(
    visitor: Visitor, people: People
) -> None:
    visitor.sign_in(people["moderator"])
    asked_before = visitor.client.get_cookie("waterwatch")
    token = visitor.token("/account")
    late = visitor.client.get("/privacy")
    assert "Set-Cookie" not in late.headers
    assert asked_before is not None
    visitor.client.set_cookie("waterwatch", asked_before.value)  # as it was before the first page
    assert visitor.client.post("/desk/next", data={"csrf_token": token}).status_code != 400


def test_remember_me_is_not_offered_to_anybody(visitor: Visitor, people: People) -> None:
    person = people["moderator"]
    visitor.post("/login", {"email": person.email, "password": person.password, "remember": "y"})
    visitor.give_code(code_of(person))
    assert visitor.client.get_cookie("remember_token") is None


def test_an_authentication_token_admits_nobody(app: Flask, people: People, sessions: sessionmaker[Session]) -> None:
    from waterwatch.accounts.views import Account

    with app.test_request_context(), transaction(sessions) as session:
        account = session.query(Account).filter_by(email=people["moderator"].email).one()
        token = account.get_auth_token()
    visitor = Visitor(app.test_client())
    assert visitor.get("/desk/", headers={"Authentication-Token": token}).status_code == 302
    assert visitor.get(f"/desk/?auth_token={token}").status_code == 302


def test_a_session_that_showed_one_factor_only_is_ended(app: Flask, visitor: Visitor, people: People) -> None:
    visitor.sign_in(people["moderator"])
    with visitor.client.session_transaction() as session:
        del session["second_factor"]
    assert visitor.get("/desk/").location == "/login?next=/desk/"
    assert visitor.get("/login").status_code == 200


def test_somebody_switched_off_is_out_at_once(
    visitor: Visitor, people: People, sessions: sessionmaker[Session]
) -> None:
    visitor.sign_in(people["moderator"])
    with transaction(sessions) as session:
        session.execute(text("UPDATE person SET active = false WHERE email LIKE 'moderator@%'"))
    assert visitor.get("/desk/").status_code == 302
    assert WRONG in visitor.give_password(people["moderator"]).text


def test_a_citizens_account_needs_no_second_factor_and_opens_no_desk(
    visitor: Visitor, sessions: sessionmaker[Session]
) -> None:
    response = visitor.give_password(newcomer(sessions, "citizen"))
    assert response.location == "/account/start"
    assert visitor.get("/account").status_code == 200
    assert visitor.get("/desk/").status_code == 403


@pytest.mark.parametrize("path", ["/tf-rescue", "/tf-select", "/fs-static/js/webauthn.js"])
def test_what_the_library_brings_beyond_our_pages_is_not_there(visitor: Visitor, people: People, path: str) -> None:
    visitor.give_password(people["moderator"])
    assert visitor.get(path).status_code == 404


def test_no_page_of_signing_in_speaks_the_librarys_english(app: Flask, people: People) -> None:
    visitor, person = Visitor(app.test_client()), people["moderator"]
    pages = [
        visitor.post("/login", {"email": "", "password": ""}),
        visitor.post("/login", {"email": "not an address", "password": "x"}),
        visitor.give_password(person, password="wrong"),
        visitor.get("/tf-validate", follow_redirects=True),
    ]
    visitor.give_password(person)
    pages += [visitor.give_code(""), visitor.give_code("abc"), visitor.post("/mf-recovery", {"code": ""})]
    visitor.sign_in(person)
    pages += [
        visitor.get("/account"),
        visitor.post("/tf-setup", {"setup": "sms"}),
        visitor.get("/mf-recovery-codes?show_codes=1"),
        visitor.get("/verify"),
        visitor.post("/verify", {"password": "wrong"}),
    ]
    for page in pages:
        main = page.text[page.text.index("<main") : page.text.index("</main>")]
        words = re.sub(r"<[^>]*>", " ", main).replace("moderator@demo.example", "")
        english = set(re.findall(r"[A-Za-z]{3,}", words)) - {"Aegis", "Google", "Authenticator", "WaterWatch"}
        assert english == set(), page.request.path
