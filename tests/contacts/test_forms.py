"""A contact as people type it: nothing, something usable, or every fault at once."""

import pytest

from waterwatch.contacts.forms import parse_contact, read_contact
from waterwatch.contacts.rules import SHOW_REASONS, Contact, may_show
from waterwatch.kernel.errors import Invalid


def test_nothing_is_asked_of_somebody_who_leaves_nothing() -> None:
    assert read_contact({}) == (None, {})
    assert read_contact({"contact_email": "  ", "contact_by_mail": "yes", "contact_may_ask": "yes"}) == (None, {})


@pytest.mark.parametrize(
    ("fields", "contact"),
    [
        (
            {"contact_email": "Wang@Example.org", "contact_by_mail": "yes"},
            Contact("Wang@Example.org", None, True, False),
        ),
        (
            {"contact_email": "ｗang＠example.org", "contact_by_mail": "on"},
            Contact("wang@example.org", None, True, False),
        ),
        ({"contact_phone": "０２７ 8888-8888", "contact_may_ask": "1"}, Contact(None, "027 8888-8888", False, True)),
        (
            {"contact_phone": "+86 138 0013 8000", "contact_by_mail": "yes", "contact_may_ask": "yes"},
            Contact(None, "+86 138 0013 8000", False, True),
        ),
    ],
)
def test_what_is_left_is_read_as_it_was_meant(fields: dict[str, str], contact: Contact) -> None:
    assert parse_contact(fields) == contact


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({}, {"contact_email": ["contact_missing"]}),
        (
            {"contact_email": "wang", "contact_phone": "wang", "contact_by_mail": "yes"},
            {"contact_email": ["contact_email_malformed"], "contact_phone": ["contact_phone_malformed"]},
        ),
        (
            {"contact_email": "a@b.org\r\nBcc: c@d.org", "contact_by_mail": "yes"},
            {"contact_email": ["contact_email_malformed"]},
        ),
        ({"contact_email": "wang@example.org"}, {"contact_may_ask": ["contact_use_missing"]}),
        ({"contact_phone": "027 8888 8888", "contact_by_mail": "yes"}, {"contact_may_ask": ["contact_use_missing"]}),
        ({"contact_phone": "1" * 40, "contact_may_ask": "yes"}, {"contact_phone": ["contact_phone_malformed"]}),
    ],
)
def test_faults_are_named_all_at_once(fields: dict[str, str], errors: dict[str, list[str]]) -> None:
    with pytest.raises(Invalid) as refused:
        parse_contact(fields)
    assert refused.value.errors == errors


def test_questions_need_the_authors_word_and_danger_does_not() -> None:
    assert [reason for reason in SHOW_REASONS if may_show(reason, may_ask=False)] == [
        "people_in_danger",
        "legal_demand",
    ]
    assert all(may_show(reason, may_ask=True) for reason in SHOW_REASONS)
    assert not may_show("curious", may_ask=True)
