"""What kind of mail it is, and what a person wrote in it."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inbox import mails
from waterwatch.inbox import pages, quoting, reading


def kind_of(raw: bytes, *, has_null_sender: bool = False) -> tuple[str, str | None]:
    found = reading.read(raw, has_null_sender=has_null_sender)
    return found.kind, found.status


@pytest.mark.parametrize("system", mails.BOUNCES)
def test_a_bounce_is_told_whoever_wrote_it(system: str) -> None:
    raw, status = mails.BOUNCES[system]
    assert kind_of(raw, has_null_sender=True) == ("bounce", status)


@pytest.mark.parametrize("system", mails.DELAYS)
def test_a_delay_is_no_bounce(system: str) -> None:
    raw, status = mails.DELAYS[system]
    assert kind_of(raw, has_null_sender=True) == ("delayed", status)


@pytest.mark.parametrize("program", mails.AWAY)
def test_nobody_wrote_a_holiday_reply(program: str) -> None:
    assert kind_of(mails.AWAY[program]) == ("auto_reply", None)
    assert kind_of(mails.AWAY[program], has_null_sender=True) == ("auto_reply", None)


def test_a_delivery_receipt_is_no_answer() -> None:
    assert kind_of(mails.DELIVERED, has_null_sender=True) == ("auto_reply", None)


def test_a_person_who_forwards_a_bounce_answers() -> None:
    inner = mails.POSTFIX.decode()
    raw = mails.lines(
        "From: wang@wuhan.example\nSubject: Fwd\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
        "--b\nContent-Type: text/plain; charset=utf-8\n\n地址已停用，请寄新地址。\n"
        "--b\nContent-Type: message/rfc822\n\n" + inner.replace("\r\n", "\n") + "\n--b--\n"
    )
    found = reading.read(raw, has_null_sender=False)
    assert (found.kind, found.text) == ("answer", "地址已停用，请寄新地址。")
    assert [one.media_type for one in found.attachments] == ["message/rfc822"]


def test_a_person_who_quotes_the_words_of_a_bounce_answers() -> None:
    raw = mails.simple("我们的邮箱曾有 550 5.1.1 User unknown 的退信，现已修复。", subject="关于退信的说明")
    assert kind_of(raw) == ("answer", None)


@pytest.mark.parametrize("program", mails.QUOTED)
@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_an_answer_is_what_stands_above_the_letter(program: str, charset: str) -> None:
    found = reading.read(mails.simple(mails.QUOTED[program], charset=charset), has_null_sender=False)
    assert found.kind == "answer"
    assert found.text.split() == mails.SAID.split()
    assert "114.30550" not in found.text
    assert (found.subject, found.sender) == ("回复：【江湖网】橙色：污水直排", "王科 <wang@wuhan.example>")


def test_a_letter_sent_back_without_a_word_is_no_answer() -> None:
    assert kind_of(mails.simple(mails.ABOVE["outlook"])) == ("unknown", None)


def test_an_answer_below_the_quoted_letter_is_found() -> None:
    letter = "".join(f"> {line}\n" for line in mails.OUR_LETTER.splitlines())
    text = f"2026年5月20日 10:30，江湖网 <case+a@in.example.org> 写道：\n{letter}\n已派员处理。"
    assert quoting.cut_quotation(text) == "已派员处理。"


@pytest.mark.parametrize(
    ("named", "codec"),
    [
        ("gb2312", "gbk"),
        ("GB2312", "gb18030"),
        ("big5", "cp950"),
        ("x-unknown", "utf-8"),
        ("utf-8", "gb18030"),
        ("", "gbk"),
    ],
)
def test_chinese_is_read_whatever_the_mail_says_it_is_written_in(named: str, codec: str) -> None:
    said = "經現場核查已整改" if codec == "cp950" else "经现场核查，排口已封堵，镕"
    raw = mails.simple("x").replace(b"charset=utf-8", f"charset={named}".encode() if named else b"x=y")[:-1]
    assert reading.read(raw + said.encode(codec), has_null_sender=False).text == said


def test_a_codec_that_is_no_charset_is_not_run() -> None:
    for name in ("zip", "hex", "unicode_escape", "utf-7", "idna", "punycode"):
        raw = mails.simple("\\u0041+ADw-").replace(b"charset=utf-8", f"charset={name}".encode())
        assert reading.read(raw, has_null_sender=False).text == "\\u0041+ADw-"


def test_a_letter_cut_in_two_between_encoded_words_is_whole() -> None:
    cut = b"=?utf-8?B?5rGh5rA=?=\r\n =?utf-8?B?tOebtA==?= =?utf-8?Q?=E6=8E=92?= end"
    raw = mails.simple("x").replace(b"Subject: ", b"Subject: " + cut + b"\r\nX: ")
    assert reading.read(raw, has_null_sender=False).subject == "污水直排 end"


def test_a_subject_in_bytes_of_gb_is_read() -> None:
    raw = mails.simple("已处理").replace(b"Subject: ", b"Subject: " + "自动回复".encode("gbk") + b" ")
    assert reading.read(raw, has_null_sender=False).kind == "auto_reply"


def test_a_page_without_plain_text_gives_its_words() -> None:
    page = (
        "<html><head><title>t</title><style>p{}</style></head><body><script>alert(1)</script>"
        "<p>您好&nbsp;：</p><div>已于&lt;5月21日&gt;现场<b>核查</b>。</div><!-- <p>hidden</p> --><br>王工"
        "<div>------------------ 原始邮件 ------------------</div><p>114.30550</p></body></html>"
    )
    found = reading.read(mails.simple(page, kind="html"), has_null_sender=False)
    assert found.text.split() == ["您好", "：", "已于<5月21日>现场核查。", "王工"]


def test_attachments_are_listed_with_their_names_and_not_opened() -> None:
    raw = mails.lines(
        "From: a@b.example\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
        "--b\nContent-Type: text/plain\n\ndone\n"
        "--b\nContent-Type: image/jpeg; name*=UTF-8''%E7%8E%B0%E5%9C%BA.jpg\nContent-Transfer-Encoding: base64\n"
        "Content-Disposition: attachment\n\n/9j/4AAQ\n"
        "--b\nContent-Type: application/ms-tnef; name=winmail.dat\nContent-Disposition: attachment\n\nx\n"
        "--b\nContent-Type: image/png; name=../../map.png\nContent-ID: <map>\n\nxx\n--b--\n"
    )
    found = reading.read(raw, has_null_sender=False)
    assert [(one.name, one.media_type, one.is_inline) for one in found.attachments] == [
        ("现场.jpg", "image/jpeg", False),
        ("winmail.dat", "application/ms-tnef", False),
        (".._.._map.png", "image/png", True),
    ]
    assert reading.open_part(raw, found.attachments[0].position) == b"\xff\xd8\xff\xe0\x00\x10"
    assert reading.open_part(raw, 0) == b""


def test_what_is_not_seen_is_taken_out() -> None:
    found = reading.read(mails.simple("已\u202e处理\u200b完\x07毕\x00"), has_null_sender=False)
    assert found.text == "已处理完毕"


def nested(depth: int) -> bytes:
    head = "From: a@b.example\nMIME-Version: 1.0\n"
    for number in range(depth):
        head += f"Content-Type: multipart/mixed; boundary=b{number}\n\n--b{number}\n"
    return mails.lines(head + "Content-Type: text/plain\n\nx")


def test_parts_within_parts_are_refused_beyond_any_use() -> None:
    assert reading.read(nested(20), has_null_sender=False).text == "x"
    for depth in (60, 5_000):
        with pytest.raises(reading.UnreadableError, match="too_deep"):
            reading.read(nested(depth), has_null_sender=False)


def test_ten_thousand_parts_cost_little() -> None:
    part = "--b\nContent-Type: text/plain\nContent-Disposition: attachment; filename=a.txt\n\nx\n"
    raw = mails.lines(
        "From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n已处理\n"
        + part * 10_000
        + "--b--"
    )
    begun = time.process_time()
    found = reading.read(raw, has_null_sender=False)
    assert (found.text, len(found.attachments)) == ("已处理", 40)
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    "hostile",
    [
        b"Subject: " + b"=?utf-8?q?=?=" * 100_000 + b"\r\n\r\nx",
        b"Content-Type: text/plain; " + b'a="\\";' * 200_000 + b"\r\n\r\nx",
        b"From: " + b"(" * 500_000 + b"\r\n\r\nx",
        b"Content-Type: text/html\r\n\r\n" + b"<" * 900_000,
        b"Content-Type: text/html\r\n\r\n" + b"<script>" * 100_000,
        b"Content-Type: text/html\r\n\r\n" + b"<!--" * 200_000,
        b"Content-Type: text/html\r\n\r\n" + b"&#" * 400_000,
        b"Content-Type: text/plain\r\n\r\n" + b"From: \n" * 100_000,
        b"Content-Type: text/plain\r\n\r\n" + b"On 1-1 a wrote\n" * 60_000,
        b"Content-Type: text/plain\r\n\r\n" + b"\n> " * 300_000,
        b"Content-Type: text/plain\r\n\r\n" + b" " * 900_000 + b"-",
        b"Content-Type: text/plain\r\n\r\n" + b"_" * 9_000 + b"\n" * 900,
        b"Content-Type: text/plain\r\n\r\n" + b"On " + b"a " * 4_900 + b"wrote",
        b"Content-Type: text/plain\r\n\r\n" + b"-" * 9_900,
        b"X: y\r\n" * 200_000 + b"\r\nx",
    ],
)
def test_no_mail_takes_long(hostile: bytes) -> None:
    begun = time.process_time()
    reading.read(hostile, has_null_sender=True)
    assert time.process_time() - begun < 10


@settings(max_examples=150)
@given(st.binary(max_size=3_000), st.booleans())
def test_whatever_comes_is_of_some_kind(raw: bytes, has_null_sender: bool) -> None:
    found = reading.from_json(reading.answer(raw, has_null_sender=has_null_sender))
    assert found.kind in ("bounce", "delayed", "auto_reply", "answer", "unknown")
    assert len(found.as_json()) < 60_000


PIECES = [b"\r\n", b"--b\r\n", b"--b--\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n", b"\r\n\r\n", b"\xd6\xd0"]
PIECES += [
    b"Content-Type: message/delivery-status\r\n\r\n",
    b"Action: failed\r\n",
    b"Status: 5.1.1\r\n",
    b"=?gbk?b?1tA=?=",
]
PIECES += [
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Subject: ",
    b"Content-Transfer-Encoding: base64\r\n",
    b"<b>",
    b"> ",
]
PIECES += [
    b"Content-Type: text/html; charset=gbk\r\n",
    "发件人：".encode(),
    "写道：\n".encode(),
    b"Auto-Submitted: x\r\n",
]
PIECES += [
    b"Content-Disposition: attachment; filename*0*=%%; filename*1=x\r\n",
    b"begin 644 x\r\n",
    b"Content-Type: ;;=\r\n",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.booleans())
def test_pieces_of_mails_in_any_order_are_of_some_kind(pieces: list[bytes], has_null_sender: bool) -> None:
    found = reading.from_json(reading.answer(b"".join(pieces), has_null_sender=has_null_sender))
    assert found.kind in ("bounce", "delayed", "auto_reply", "answer", "unknown")


@given(st.text(alphabet=st.sampled_from("<>/!-&;abscriptdiv \n"), max_size=400))
def test_no_tag_is_left_of_a_page(page: str) -> None:
    assert "<script>" not in pages.to_text(page)


@given(st.text(max_size=500))
def test_an_answer_that_quotes_nothing_is_not_made_longer(text: str) -> None:
    assert len(quoting.cut_quotation(text)) <= len(text)
