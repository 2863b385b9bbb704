from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterwatch.messaging import email


def compose(now: datetime, **changes: Any) -> EmailMessage:
    values: dict[str, Any] = {
        "sender": email.Mailbox("江湖网·预警图", "waters@example.org"),
        "recipient": "huanbao@example.net",
        "subject": "【公众观察·橙色（重大）】长江武汉段 发现污水直排",
        "text": "看到了什么\n",
        "html": '<p>看到了什么</p><img src="cid:photo">',
        "message_id": "<0190-aa@example.org>",
        "sent_at": now,
        "language": "zh-Hans",
        "images": [email.InlineImage("photo", "image/jpeg", b"\xff\xd8\xff\xe0jpeg", "照片.jpg")],
    }
    return email.compose(**(values | changes))


def parse(message: EmailMessage) -> EmailMessage:
    parsed = message_from_bytes(message.as_bytes(), policy=default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def test_a_composed_mail_reads_back_as_it_was_meant(now: datetime) -> None:
    parsed = parse(compose(now))
    assert parsed["Subject"] == "【公众观察·橙色（重大）】长江武汉段 发现污水直排"
    assert parsed["From"].addresses[0].display_name == "江湖网·预警图"
    assert parsed["From"].addresses[0].addr_spec == "waters@example.org"
    assert parsed["Message-ID"] == "<0190-aa@example.org>"
    assert parsed["Date"].datetime == now
    assert parsed.get_content_type() == "multipart/alternative"
    text, related = parsed.iter_parts()
    assert text.get_content() == "看到了什么\r\n"
    assert text.get_content_charset() == "utf-8"
    assert related.get_content_type() == "multipart/related"
    html, image = related.iter_parts()
    assert html.get_content_type() == "text/html"
    assert "看到了什么" in html.get_content()
    assert (image.get_content_type(), image["Content-ID"]) == ("image/jpeg", "<photo>")
    assert image.get_content() == b"\xff\xd8\xff\xe0jpeg"
    assert image.get_content_disposition() == "inline"


def test_every_byte_on_the_wire_is_seven_bits_wide_and_no_line_is_too_long(now: datetime) -> None:
    raw = compose(now, text="很长的一行" * 2000, html="<p>" + "很长的一行" * 2000).as_bytes()
    assert raw.isascii()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998  # RFC 5322, 2.1.1
    assert b"\n" not in raw.replace(b"\r\n", b"")


def test_the_address_to_unsubscribe_at_stands_on_one_line_as_it_is(now: datetime) -> None:
    """What a mail program looks for is no encoded word (RFC 2047, 5): ``email`` would make one of a long address."""
    url = f"<http://127.0.0.1:8010/api/v1/watch/unsubscribe/{'eyJ0b2tlbg' * 20}.a_b-c>"
    raw = compose(now, headers={"List-Unsubscribe": url}).as_bytes()
    assert b"\r\nList-Unsubscribe: " + url.encode() + b"\r\n" in raw


@pytest.mark.parametrize(
    "sneaky", ["水\r\nBcc: x@y.z", "水\nBcc: x@y.z", "水\rBcc: x@y.z", "水\x0bBcc: x@y.z", "水\u2028Bcc: x@y.z"]
)
def test_a_name_from_data_cannot_start_a_header(now: datetime, sneaky: str) -> None:
    parsed = parse(compose(now, subject=sneaky, sender=email.Mailbox(sneaky, "waters@example.org")))
    assert parsed["Bcc"] is None
    assert parsed["Subject"] == "水 Bcc: x@y.z"
    assert [address.addr_spec for address in parsed["From"].addresses] == ["waters@example.org"]


@given(subject=st.text(max_size=300), name=st.text(max_size=80))
def test_no_text_whatever_adds_a_header_or_breaks_the_mail(subject: str, name: str) -> None:
    moment = datetime.fromisoformat("2026-05-20T02:30:00+00:00")
    plain = compose(moment)
    parsed = parse(compose(moment, subject=subject, sender=email.Mailbox(name, "waters@example.org")))
    assert parsed.keys() == plain.keys()
    assert [address.addr_spec for address in parsed["From"].addresses] == ["waters@example.org"]
    assert len(list(parsed.iter_parts())) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": "a@example.net\r\nBcc: x@y.z"},
        {"recipient": "a@example.net, b@example.net"},
        {"recipient": "Someone <a@example.net>"},
        {"sender": email.Mailbox("x", "waters@example.org\n")},
        {"message_id": "<a@b>\r\nBcc: x@y.z"},
        {"message_id": "a@b"},
        {"images": [email.InlineImage("photo>\r\nX: y", "image/png", b"", "a.png")]},
    ],
)
def test_an_address_or_identifier_that_is_none_is_refused(now: datetime, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a"):
        compose(now, **changes)


@pytest.mark.parametrize("address", ["a@localhost", "huanbao@wuhan.gov.cn", "a.b+c@xn--fiqs8s.example", "x@127.0.0.1"])
def test_plain_addresses_are_addresses(address: str) -> None:
    assert email.is_address(address)


@pytest.mark.parametrize(
    "address", ["", "a", "a@", "@a", "a@-b", "a@b..c", "a@b\n", "a b@c", f"{'a' * 65}@b", f"a@{'b' * 64}", "局长@b.cn"]
)
def test_anything_else_is_none(address: str) -> None:
    assert not email.is_address(address)
