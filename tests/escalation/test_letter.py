import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from waterwatch.escalation.channels import Contact, Letter, Pictures, email, letter
from waterwatch.escalation.claims import Claim
from waterwatch.escalation.queries import CaseFacts
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import open_link

NOW = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
FACTS = CaseFacts(
    case_id=uuid.UUID(int=7),
    incident_id=uuid.UUID(int=8),
    agency_id=uuid.UUID(int=9),
    agency_name="武汉市生态环境局",
    state="queued",
    severity=3,
    created_at=NOW,
    delivered_at=None,
    acknowledged_at=None,
    state_deadline_at=None,
    code="7KMQ-2T9X",
    kind="sewage_outfall",
    lon=114.3055,
    lat=30.5928,
    public_lon=114.306,
    public_lat=30.593,
    water_name="长江",
    seen_at=NOW - timedelta(hours=2),
    reports=1,
    extent=None,
    is_ongoing=None,
    has_dead_animals=None,
    affects_people=None,
    photo_key="public/x/1024.jpg",
    is_photo_pending=False,
)


def changed(**changes: object) -> CaseFacts:
    return CaseFacts(**({name: getattr(FACTS, name) for name in FACTS.__dataclass_fields__} | changes))  # type: ignore[arg-type]


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(public_url="https://waters.example.org", acknowledge_link_days=30)


def made(facts: CaseFacts, settings: Settings, pictures: Pictures | None = None, **further: Any) -> Letter:
    url = letter.acknowledge_url(settings, facts.case_id, facts.created_at)
    values = {
        "delivery_id": uuid.UUID(int=3),
        "case_id": facts.case_id,
        "says": "case",
        "facts": facts,
        "pictures": pictures or Pictures(b"photo", b"map"),
        "contact": Contact(uuid.UUID(int=4), "email", "huanbao@wuhan.example"),
        "message_id": "<x@waters.example.org>",
        "attempt": 1,
        "claimed_at": NOW,
        "queued_at": NOW,
        "reply_by": letter.reply_by(facts, NOW, further.get("raised_from")),
        "answer_url": url,
        "photo_url": f"{url}/photo.jpg",
        "map_url": f"{url}/map.png",
        "incident_url": f"{settings.public_url}/i/{facts.code}",
    }
    return Letter(**(values | further))


def written(one: Letter, settings: Settings) -> EmailMessage:
    read = message_from_bytes(email.write(one, settings=settings), policy=default)
    assert isinstance(read, EmailMessage)
    return read


def words(facts: CaseFacts, settings: Settings, pictures: Pictures | None = None) -> tuple[str, str, str, int]:
    one = made(facts, settings, pictures)
    mail = written(one, settings)
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    size_bytes = len(email.write(one, settings=settings))
    return str(mail["Subject"]), text.get_content(), html.get_content(), size_bytes


@pytest.mark.parametrize(
    ("severity", "word", "deadline"),
    [
        (4, "红色·特别重大", "2026-05-20 12:30"),
        (3, "橙色·重大", "2026-05-21 10:30"),
        (2, "黄色·较大", "2026-05-25 10:30"),
        (1, "蓝色·一般", "2026-05-29 10:30"),
    ],
)
def test_colour_word_and_deadline_go_together(settings: Settings, severity: int, word: str, deadline: str) -> None:
    subject, text, html, _ = words(changed(severity=severity), settings)
    assert subject == f"【公众观察·{word}】长江：污水直排（事件 7KMQ-2T9X）"
    for body in (text, html):
        assert word in body
        assert f"请在 {deadline}（北京时间）之前" in body


def test_another_address_of_the_agency_is_told_the_deadline_that_already_runs(settings: Settings) -> None:
    facts = changed(state="delivered", delivered_at=NOW, state_deadline_at=NOW + timedelta(hours=1))
    assert "请在 2026-05-20 11:30（北京时间）之前" in words(facts, settings)[1]


def test_the_link_in_the_mail_opens_the_case_until_it_expires(settings: Settings) -> None:
    _, text, html, _ = words(FACTS, settings)
    url = letter.acknowledge_url(settings, FACTS.case_id, NOW)
    assert url in text
    assert f'href="{url}"' in html
    token = url.removeprefix("https://waters.example.org/a/")
    last = NOW + timedelta(days=30, seconds=-1)
    assert open_link(settings, letter.LINK_PURPOSE, token, now=last) == FACTS.case_id


def test_the_link_of_a_later_letter_lasts_from_when_that_was_queued(settings: Settings) -> None:
    later = NOW + timedelta(days=45)
    claim = Claim(uuid.UUID(int=3), FACTS.case_id, "email", "a@x.example", "<x@x>", 1, later, later, False, later, 3,
                  None, "reminder")  # fmt: skip
    written = letter.make_letter(claim, FACTS, Pictures(None, None), settings=settings)
    token = written.answer_url.removeprefix("https://waters.example.org/a/")
    last = later + timedelta(days=30, seconds=-1)
    assert open_link(settings, letter.LINK_PURPOSE, token, now=last) == FACTS.case_id


def test_the_place_is_given_in_both_datums_on_the_mainland_and_in_one_off_it(settings: Settings) -> None:
    _, text, html, _ = words(FACTS, settings)
    for body in (text, html):
        assert "北纬 30.592800，东经 114.305500" in body
        assert "GCJ-02" in body
    assert FACTS.gcj02 is not None
    assert f"北纬 {FACTS.gcj02[1]:.6f}，东经 {FACTS.gcj02[0]:.6f}" in text
    off_the_mainland = changed(lon=114.1694, lat=22.3193)  # Hong Kong
    assert "GCJ-02" not in words(off_the_mainland, settings)[1]


def test_names_from_data_cannot_become_markup_or_headers(settings: Settings) -> None:
    subject, _, html, _ = words(changed(water_name="<b>江\r\nBcc: x@y.z", agency_name="<script>"), settings)
    assert "\n" not in subject
    assert "<script>" not in html
    assert "<b>江" not in html


def test_a_water_without_a_name_and_a_case_without_details_still_read_well(settings: Settings) -> None:
    subject, text, _, _ = words(changed(water_name=None, seen_at=None), settings)
    assert "未命名水体：污水直排" in subject
    assert "None" not in text


def test_pictures_that_burst_the_budget_stay_out_and_the_mail_says_so(settings: Settings) -> None:
    huge = Pictures(bytes(4 * 1024 * 1024), b"map")
    _, _, html, size_bytes = words(FACTS, settings, huge)
    assert size_bytes < email.SIZE_BUDGET_BYTES
    assert "cid:photo" not in html
    assert "照片没有随信附上" in html
    assert "cid:map" in html


def test_the_largest_pictures_that_go_in_keep_the_mail_within_its_budget(settings: Settings) -> None:
    largest = Pictures(bytes(3_650_000), bytes(60_000))
    _, _, html, size_bytes = words(FACTS, settings, largest)
    assert "cid:photo" in html
    assert "cid:map" in html
    assert size_bytes <= email.SIZE_BUDGET_BYTES
