"""Watching a water: asked first, told of each change once and not too often, forgotten at a word."""

import re
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_incident
from tests.moderation.rows import count
from waterwatch.advisories import service as advisories
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Gone, NotFound
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.webpush import Subscription
from waterwatch.postbox import service as postbox
from waterwatch.postbox.service import Mail
from waterwatch.watches import rules, service
from waterwatch.watches.service import WatchByBrowser, WatchWater

ADDRESS = "li@example.org"
HOUR = timedelta(hours=1)
TEST = Actor.system("test")


class Water:
    """A river with incidents, and whoever watches it."""

    def __init__(self, session: Session, settings: Settings, now: datetime) -> None:
        self.session, self.settings, self.now = session, settings, now
        self.incident_id = add_incident(session, now=now, severity=2)
        row = session.execute(text("SELECT id, water_body_id FROM water_feature")).one()
        self.feature_id, self.body_id = row.id, row.water_body_id
        self.level(2)

    def level(self, severity: int | None, *, after: timedelta = timedelta()) -> None:
        """The incident's severity changes, or it ends, and the advisory follows."""
        values = {"severity": severity or 1, "closed": None if severity else self.now}
        self.session.execute(
            text("UPDATE incident SET severity = :severity, graded_severity = :severity,"
                 " state = CASE WHEN CAST(:closed AS timestamptz) IS NULL THEN 'open' ELSE 'expired' END,"
                 " closed_at = CAST(:closed AS timestamptz)"),
            values,
        )  # fmt: skip
        advisories.refresh(self.session, self.feature_id, actor=TEST, now=self.now + after)

    def watch(self, address: str = ADDRESS, language: str = "zh-Hans", *, after: timedelta = timedelta()) -> bool:
        command = WatchWater(self.body_id, address, language)
        return service.watch_by_mail(self.session, command, settings=self.settings, now=self.now + after)

    def watched(self, address: str = ADDRESS, language: str = "zh-Hans") -> None:
        self.watch(address, language)
        (mail,) = [one for one in self.mails() if one.address == address]
        service.confirm(self.session, link(mail, "confirm"), settings=self.settings, now=self.now)
        self.session.execute(text("DELETE FROM posting"))

    def tell(self, *, after: timedelta = timedelta()) -> int:
        return service.tell(self.session, self.body_id, settings=self.settings, now=self.now + after)

    def mails(self) -> list[Mail]:
        """What waits to be sent, opened as the worker does."""
        later = self.now + timedelta(days=9)
        waiting = self.session.execute(text("SELECT id FROM posting WHERE sealed IS NOT NULL ORDER BY id"))
        held = [postbox.claim(self.session, one, settings=self.settings, now=later) for one in waiting.scalars().all()]
        self.session.execute(text("UPDATE posting SET state = 'pending' WHERE state = 'sending'"))
        return [Mail(**one.content) for one in held if one is not None and one.channel == "email"]


def link(mail: Mail, path: str) -> str:
    found = re.search(rf"http://localhost/watch/{path}/(\S+)", mail.text)
    assert found is not None, mail.text
    return found[1]


@pytest.fixture
def water(session: Session, settings: Settings, now: datetime) -> Water:
    return Water(session, settings, now)


def test_an_address_is_asked_and_told_nothing_before_it_says_yes(water: Water) -> None:
    assert water.watch() is True
    (mail,) = water.mails()
    assert (mail.address, "长江" in mail.subject, "确认" in mail.subject) == (ADDRESS, True, True)
    water.level(3)
    assert water.tell() == 0
    token = link(mail, "confirm")
    address = service.confirm(water.session, token, settings=water.settings, now=water.now)
    assert address == service.confirm(water.session, token, settings=water.settings, now=water.now)
    assert address.startswith("w-")
    assert water.tell() == 0  # it was confirmed at the level that holds now


@pytest.mark.parametrize(
    ("level", "words"),
    [(3, ("升高", "黄色·较大", "橙色·重大")), (1, ("降低", "蓝色·一般")), (None, ("解除", "没有警示"))],
)
def test_a_rise_a_fall_and_an_end_are_told_once_in_words(
    water: Water, level: int | None, words: tuple[str, ...]
) -> None:
    water.watched()
    water.level(level)
    assert (water.tell(), water.tell()) == (1, 0)
    (mail,) = water.mails()
    assert [word for word in words if word not in mail.text] == []
    assert "长江" in mail.subject
    assert mail.unsubscribe_url is not None
    assert mail.unsubscribe_url.endswith(link(mail, "stop"))


@pytest.mark.parametrize(("language", "words"), [("en", "Yangtze"), ("zh-Hant", "等級升高了")])
def test_each_is_told_in_the_language_they_asked_in(water: Water, language: str, words: str) -> None:
    water.session.execute(
        text("INSERT INTO water_name (id, water_body_id, lang, name, is_primary)"
             " SELECT gen_random_uuid(), id, 'en', 'Yangtze', true FROM water_body")
    )  # fmt: skip
    water.watched(language=language)
    water.level(3)
    water.tell()
    (mail,) = water.mails()
    assert (mail.language, words in mail.text) == (language, True)


def test_within_an_hour_nobody_is_told_twice_but_of_red(water: Water) -> None:
    water.watched()
    water.level(3)
    assert water.tell() == 1
    water.level(1)
    assert [water.tell(after=HOUR * part) for part in (0.5, 0.99, 1, 1.1)] == [0, 0, 1, 0]
    water.level(4)
    assert water.tell(after=HOUR * 1.2) == 1
    water.level(3)
    assert [water.tell(after=HOUR * part) for part in (1.3, 2.2)] == [0, 1]


def test_what_has_not_gone_out_is_replaced_by_what_holds_now(water: Water) -> None:
    water.watched()
    water.level(3)
    water.tell()
    water.level(4)
    water.tell()
    (mail,) = water.mails()
    assert "红色·特别重大" in mail.subject


def test_a_level_that_went_to_and_fro_within_the_hour_is_not_told(water: Water) -> None:
    water.watched()
    water.level(3)
    water.tell()
    water.level(2)
    water.level(3)
    assert water.tell(after=2 * HOUR) == 0


def test_stopping_erases_the_address_and_what_still_waits(water: Water) -> None:
    water.watched()
    water.level(3)
    water.tell()
    token = link(water.mails()[0], "stop")
    for _twice in range(2):
        service.stop(water.session, token, settings=water.settings, now=water.now)
    assert (count(water.session, "watch"), water.mails()) == (0, [])
    with pytest.raises(NotFound):
        service.stop(water.session, token[:-4] + "AAAA", settings=water.settings, now=water.now)


def test_a_link_of_a_watch_that_was_ended_confirms_nothing(water: Water) -> None:
    water.watch()
    token = link(water.mails()[0], "confirm")
    service.forget_unconfirmed(water.session, actor=TEST, now=water.now + timedelta(days=8), limit=10)
    with pytest.raises(Gone):
        service.confirm(water.session, token, settings=water.settings, now=water.now)


def test_addresses_that_never_said_yes_are_forgotten_after_a_week_and_others_are_not(water: Water) -> None:
    water.watched("yes@example.org")
    water.watch()
    assert service.forget_unconfirmed(water.session, actor=TEST, now=water.now + timedelta(days=6), limit=10) == 0
    assert service.forget_unconfirmed(water.session, actor=TEST, now=water.now + timedelta(days=8), limit=10) == 1
    assert count(water.session, "watch") == 1


def test_nobody_is_asked_more_than_three_times_a_day(water: Water) -> None:
    assert [water.watch() for _time in range(5)] == [True, True, True, False, False]
    assert water.watch(after=timedelta(days=1, hours=1)) is True


def test_who_watches_already_is_not_asked_again_and_one_address_watches_so_many_waters(
    water: Water, monkeypatch: pytest.MonkeyPatch
) -> None:
    water.watched()
    assert water.watch(ADDRESS.upper()) is False
    monkeypatch.setattr(rules, "WATCHES_PER_ADDRESS", 0)
    assert water.watch("new@example.org") is False
    assert count(water.session, "watch") == 1


def test_neither_the_table_nor_the_audit_names_an_address_or_who_watches_what(water: Water) -> None:
    water.watched()
    kept = water.session.execute(text("SELECT w::text FROM watch w")).scalar_one()
    assert ADDRESS not in kept
    assert ADDRESS.encode().hex() not in kept
    entries = water.session.execute(text("SELECT a::text FROM audit_entry a WHERE subject_kind = 'watch'")).scalars()
    told = list(entries)
    assert len(told) == 2
    assert [one for one in told if str(water.body_id) in one or "example" in one] == []


def test_a_browser_watches_and_its_lock_screen_tells_nothing(water: Water) -> None:
    subscription = Subscription("https://push.example.org/abc", "key", "auth", "vapid")
    command = WatchByBrowser(water.body_id, subscription, "zh-Hans")
    for _twice in range(2):
        service.watch_by_browser(water.session, command, settings=water.settings, now=water.now)
    water.level(4)
    assert water.tell() == 1
    posting_id = water.session.execute(text("SELECT id FROM posting")).scalar_one()
    held = postbox.claim(water.session, posting_id, settings=water.settings, now=water.now)
    assert held is not None
    assert "长江" not in held.content["payload"]
    assert '"url": "/w/w-' in held.content["payload"]
    service.stop_browser(water.session, water.body_id, subscription.endpoint, settings=water.settings, now=water.now)
    assert count(water.session, "watch") == 0


def test_a_change_orders_the_job_in_its_own_transaction_and_the_job_orders_one_for_later(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    now = utc_now()
    context = JobContext(settings, sessions, ObjectStore(settings.objects_url))

    def work() -> None:
        """Does what waits."""
        while True:
            with transaction(sessions) as session:
                rings = outbox.lease(session, window=1, lease_s=30, topics=[advisories.TOPIC_CHANGED])
                message = outbox.begin(session, rings[0].id, rings[0].lease_no, lease_s=30) if rings else None
            if message is None:
                return
            service.tell_changed(context, message)

    with transaction(sessions) as session:
        water = Water(session, settings, now)
        water.watched()
    work()
    for severity in (3, 1, 2, 1):
        with transaction(sessions) as session:
            water.session = session
            water.level(severity)
        work()
    with transaction(sessions) as session:
        assert count(session, "posting", "kind = 'watch.level'") == 1
        told_at = session.execute(text("SELECT told_at FROM watch")).scalar_one()
        due = session.execute(
            text("SELECT available_at FROM outbox WHERE topic = 'advisories.changed' AND done_at IS NULL")
        ).scalars()
        assert list(due) == [told_at + HOUR]
