"""Whose address it is, and whether the mail came before."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inbox import mails
from waterwatch.inbox import rules

TOKEN = "a" * 45


@pytest.mark.parametrize("said", ["550 ５.１.１ unknown user", "550 5.1.١ unknown user", "550 5.1.1２"])
def test_a_status_code_in_digits_of_other_scripts_is_none_of_ours(said: str) -> None:
    status = rules.worst_status([rules.Status("failed", "５.１.１")], said)
    assert status is None or re.fullmatch("[245][.][0-9]{1,3}[.][0-9]{1,3}", status)
    assert rules.worst_status([rules.Status("failed", "5.1.1")], said) == "5.1.1"


@pytest.mark.parametrize(
    "address", [f"case+{TOKEN}@in.example.org", f"CASE+{TOKEN.upper()}@IN.EXAMPLE.ORG", f"case+{TOKEN}@in.example.org."]
)
def test_an_address_of_ours_is_read_in_whatever_letters(address: str) -> None:
    found = rules.read_address(address, "in.example.org")
    assert found is not None
    assert (found.purpose, found.token.lower()) == ("case", TOKEN)


@pytest.mark.parametrize(
    "address",
    [
        f"case+{TOKEN}@example.org",
        f"case+{TOKEN}@in.example.org.evil.example",
        f"case+{TOKEN}@in.example.org@evil.example",
        f"case+{TOKEN}%evil.example@in.example.org",
        f"@evil.example:case+{TOKEN}@in.example.org",
        f'"case+{TOKEN}"@in.example.org',
        f"case+{TOKEN}\n@in.example.org",
        "case+@in.example.org",
        "postmaster@in.example.org",
        "",
    ],
)
def test_no_other_address_is_ours(address: str) -> None:
    assert rules.read_address(address, "in.example.org") is None


def test_without_a_domain_no_address_is_ours() -> None:
    assert rules.read_address(f"case+{TOKEN}@", "") is None


def test_one_mail_on_two_ways_is_one_mail() -> None:
    other_way = b"Return-Path: <>\r\nReceived: from a by b; now\r\n" + mails.POSTFIX
    assert rules.fingerprint(other_way) == rules.fingerprint(mails.POSTFIX)
    assert rules.fingerprint(mails.POSTFIX.replace(b"\r\n", b"\n")) == rules.fingerprint(mails.POSTFIX)


def test_two_mails_are_two_although_they_say_the_same() -> None:
    assert rules.fingerprint(mails.simple("同上", message_id="<2@x>")) != rules.fingerprint(mails.simple("同上"))
    assert rules.fingerprint(mails.simple("甲")) != rules.fingerprint(mails.simple("乙"))


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("您的来信已收到", "auto_reply"),
        ("邮件已收到，我们会尽快处理", "auto_reply"),
        ("收到您的邮件", "auto_reply"),
        ("已收到您的來信", "auto_reply"),
        ("re: 自动回复: 【江湖网】橙色：污水直排", "auto_reply"),
        ("回复：re：自動回覆: x", "auto_reply"),
        ("your e-mail has been received", "auto_reply"),
        ("回复：【江湖网】橙色：污水直排", "answer"),
        ("您的来信收悉，处理情况如下", "answer"),
        ("收到您的邮件，现场核查结果", "answer"),
        ("关于来信的答复", "answer"),
    ],
)
def test_what_a_machine_says_it_received_is_no_answer(subject: str, kind: str) -> None:
    assert rules.sort(rules.Traits(has_null_sender=False, subject=subject, has_content=True)) == kind


@given(st.binary(max_size=400))
def test_every_mail_has_a_fingerprint(raw: bytes) -> None:
    assert len(rules.fingerprint(raw)) == 32


@given(
    st.builds(
        rules.Traits,
        has_null_sender=st.booleans(),
        sender=st.sampled_from(["", "mailer-daemon@x.example", "wang@x.example", "postmaster"]),
        subject=st.sampled_from(["", "系统退信", "自动回复：x", "delayed mail", "回复：x", "undelivered mail"]),
        auto_submitted=st.sampled_from(["", "no", "auto-replied", "auto-generated"]),
        has_content=st.booleans(),
        heuristic=st.sampled_from([None, "bounce", "delayed"]),
    )
)
def test_a_person_never_ends_a_delivery(traits: rules.Traits) -> None:
    kind = rules.sort(traits)
    is_system = traits.has_null_sender or traits.sender.startswith(("mailer", "postmaster"))
    assert kind != "bounce" or is_system
    assert kind != "answer" or not traits.has_null_sender
