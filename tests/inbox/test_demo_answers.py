"""What the demo's mailbox sends back is what the inbox takes it for."""

from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from tests.messaging.servers import HOST, Inbox, kind_server
from waterwatch.inbox import reading
from waterwatch.messaging import email
from workers.mailbox_answers import ANSWERS, send_back


def letter() -> EmailMessage:
    made = email.compose(
        sender=email.Mailbox("江湖网", "waters@example.org"),
        recipient="huanbao@wuhan.example",
        subject="长江：污水直排",
        text="地点 114.3055, 30.5928\n",
        html="<p>地点</p>",
        message_id="<one@example.org>",
        sent_at=datetime(2026, 5, 20, tzinfo=UTC),
        language="zh-Hans",
    )
    made["Reply-To"] = "江湖网 <case+abc@in.example.org>"
    return made


@pytest.mark.parametrize(("kind", "found"), [("answer", "answer"), ("away", "auto_reply"), ("bounce", "bounce")])
def test_each_kind_of_answer_is_told_for_what_it_is(kind: str, found: str) -> None:
    taken = Inbox()
    with kind_server(taken) as port:
        send_back(f"{HOST}:{port}", letter(), kind, "已派员核查。" if kind == "answer" else "")
    (envelope,) = taken.received
    assert envelope.rcpt_tos == ["case+abc@in.example.org"]
    content = envelope.content
    assert isinstance(content, bytes)
    read = reading.read(content, has_null_sender=envelope.mail_from in ("", "<>"))
    assert read.kind == found
    if kind == "answer":
        assert read.text == "已派员核查。"
    assert set(ANSWERS) == {"answer", "away", "bounce"}
