"""Who watches a water is told what may come to it from upstream: once, when everybody may know, and when it is over."""

import re
import uuid
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.advisories.rows import River, add_chain, network_of, statements
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator, count
from tests.reports.rows import LAT, LON
from waterwatch.advisories import forecasts
from waterwatch.incidents.rules import Severity
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.webpush import Subscription
from waterwatch.postbox import service as postbox
from waterwatch.postbox.service import Mail
from waterwatch.watches import approaching, service
from waterwatch.watches.approaching import Warned
from waterwatch.watches.service import WatchByBrowser, WatchWater
from workers.deadlines import reckon_anew

TEST = Actor.system("test")
HOUR = timedelta(hours=1)
ADDRESS = "li@example.org"


class Upstream:
    """An incident on one river that flows into another, which somebody watches."""

    def __init__(self, session: Session, settings: Settings, now: datetime, **reaches: object) -> None:
        self.session, self.settings, self.now = session, settings, now
        self.river = add_chain(session, 4, **reaches)  # type: ignore[arg-type]
        self.lower = self._another("下河", self.river)
        moderator = add_moderator(session, "甲", now=now)
        incident, _report = open_on(
            session, self.river.ids[0], moderator, now=now, at=(LON + 0.02, LAT), severity=Severity.LARGER
        )
        session.flush()
        self.incident_id, self.code = incident.id, incident.code

    def _another(self, name: str, river: River) -> uuid.UUID:
        """The lower half of the river is one of its own."""
        source = "SELECT source_id FROM water_body WHERE id = :id"
        self.session.execute(
            text(f"INSERT INTO water_body (id, public_id, kind, rank, source_id, source_key)"
                 f" SELECT gen_random_uuid(), 'w-lower', 'river', 1, ({source}), 'lower'"), {"id": river.body_id},
        )  # fmt: skip
        body_id = self.session.execute(text("SELECT id FROM water_body WHERE public_id = 'w-lower'")).scalar_one()
        assert isinstance(body_id, uuid.UUID)
        for lang, word in (("zh-Hans", name), ("en", "Lower River")):
            self.session.execute(
                text("INSERT INTO water_name (id, water_body_id, lang, name, is_primary)"
                     " VALUES (gen_random_uuid(), :id, :lang, :name, true)"),
                {"id": body_id, "lang": lang, "name": word},
            )  # fmt: skip
        self.session.execute(
            text("UPDATE water_feature SET water_body_id = :id WHERE id = ANY(:ids)"),
            {"id": body_id, "ids": list(river.ids[2:])},
        )
        return body_id

    def reckon(self, after: timedelta = timedelta()) -> None:
        network = network_of(self.session)
        forecasts.reckon(
            self.session, [self.incident_id], network, settings=self.settings, actor=TEST, now=self.now + after
        )

    def published(self) -> None:
        self.reckon()
        self.reckon(HOUR / 4)

    def grade(self, severity: int, after: timedelta = HOUR / 4) -> None:
        self.session.execute(
            text("UPDATE incident SET severity = :level, graded_severity = :level"), {"level": severity}
        )
        self.reckon(after)

    def end(self, after: timedelta) -> None:
        values = {"now": self.now + after}
        self.session.execute(text("UPDATE incident SET state = 'expired', closed_at = :now"), values)
        self.reckon(after)

    def watched(self, address: str = ADDRESS, language: str = "zh-Hans", water: uuid.UUID | None = None) -> None:
        command = WatchWater(water or self.lower, address, language)
        service.watch_by_mail(self.session, command, settings=self.settings, now=self.now)
        (mail,) = [one for one in self.mails() if one.address == address]
        found = re.search(r"/watch/confirm/(\S+)", mail.text)
        assert found is not None
        service.confirm(self.session, found[1], settings=self.settings, now=self.now)
        self.session.execute(text("DELETE FROM posting"))

    def tell(self, after: timedelta = HOUR / 4) -> tuple[int, int]:
        found = self.warned(after)
        return found.told, found.over

    def warned(self, after: timedelta = HOUR / 4) -> Warned:
        return approaching.tell(self.session, self.incident_id, settings=self.settings, now=self.now + after)

    def mails(self) -> list[Mail]:
        """What waits to be sent, opened as the worker does."""
        waiting = self.session.execute(text("SELECT id FROM posting WHERE sealed IS NOT NULL ORDER BY id"))
        later = self.now + timedelta(days=9)
        held = [postbox.claim(self.session, one, settings=self.settings, now=later) for one in waiting.scalars().all()]
        self.session.execute(text("UPDATE posting SET state = 'pending' WHERE state = 'sending'"))
        return [Mail(**one.content) for one in held if one is not None and one.channel == "email"]

    def sent(self) -> None:
        """All that waits went out."""
        self.session.execute(
            text("UPDATE posting SET state = 'sent', sent_at = now(), sealed = NULL, state_deadline_at = NULL")
        )


@pytest.fixture
def upstream(session: Session, settings: Settings) -> Upstream:
    return Upstream(session, settings, datetime.fromisoformat("2026-06-01T04:30:00+00:00"))


def test_nobody_is_told_before_everybody_may_know(upstream: Upstream) -> None:
    upstream.watched()
    upstream.reckon()
    assert upstream.tell(timedelta(minutes=5)) == (0, 0)
    upstream.reckon(HOUR / 4)
    assert [upstream.tell(), upstream.tell()] == [(1, 0), (0, 0)]


def test_the_mail_says_whence_what_when_how_sure_and_what_to_do(upstream: Upstream) -> None:
    upstream.watched()
    upstream.published()
    upstream.tell()
    (mail,) = upstream.mails()
    wanted = (
        "下河", "约 16 公里", "污水直排", "预计到达：", "等级：蓝色·一般", "公众观察等级，非政府预警", "误差很大",
        "可能更早、更晚，也可能来不到", "拍照上报", "不要饮用、捕捞", f"http://localhost/i/{upstream.code}",
        "http://localhost/w/w-lower", "http://localhost/watch/stop/",
    )  # fmt: skip
    assert [words for words in wanted if words not in mail.text] == []
    assert mail.subject.startswith("下河：上游有污染，预计到达：")
    when = r"预计到达：\d+月\d+日 \d\d:00(–| 至 \d+月\d+日 )\d\d:00（北京时间）"
    for part in (mail.text, mail.subject, mail.html):
        assert re.search(when, part), part
        assert re.search("昨天|今天|明天|后天", part) is None
    assert mail.unsubscribe_url is not None
    in_html = [words for words in wanted[:-1] if words not in mail.html and "http" not in words]
    assert in_html == []


@pytest.mark.parametrize(("language", "whose"), [("en", "(Beijing time)"), ("zh-Hant", "（北京時間）")])
def test_a_mail_read_a_day_later_is_still_true_because_it_tells_dates_on_chinas_clock(
    upstream: Upstream, language: str, whose: str
) -> None:
    upstream.watched(language=language)
    upstream.published()
    upstream.tell()
    (mail,) = upstream.mails()
    for part in (mail.subject, mail.text, mail.html):
        assert whose in part
        assert re.search("yesterday|today|tomorrow|昨天|今天|明天|後天", part) is None


def test_a_window_is_of_the_nearest_reach_of_the_water_that_is_watched(upstream: Upstream) -> None:
    upstream.watched("a@example.org", water=upstream.river.body_id)
    upstream.watched("b@example.org")
    upstream.published()
    assert upstream.tell() == (2, 0)
    texts = {mail.address: mail.text for mail in upstream.mails()}
    assert ("约 6 公里" in texts["a@example.org"], "约 16 公里" in texts["b@example.org"]) == (True, True)


@pytest.mark.parametrize(
    ("reaches", "words"),
    [
        ({"dis_av_cms": None, "upland_skm": None}, ("时间不详", "只知道距离")),
        ({"lakes": [1], "is_reservoir": True}, ("不早于", "湖泊或水库")),
    ],
)
def test_where_no_time_or_only_not_before_is_known_it_says_so(
    session: Session, settings: Settings, now: datetime, reaches: dict[str, object], words: tuple[str, ...]
) -> None:
    upstream = Upstream(session, settings, now, **reaches)
    upstream.watched()
    upstream.published()
    upstream.tell()
    (mail,) = upstream.mails()
    assert [word for word in words if word not in mail.text] == []
    assert "到达：时间不详" not in mail.subject


@pytest.mark.parametrize(
    ("language", "words"), [("en", ("Lower River", "km upstream")), ("zh-Hant", ("預計到達", "不要飲用"))]
)
def test_each_is_told_in_the_language_they_asked_in(upstream: Upstream, language: str, words: tuple[str, ...]) -> None:
    upstream.watched(language=language)
    upstream.published()
    upstream.tell()
    (mail,) = upstream.mails()
    assert [word for word in words if word not in mail.text] == []


def test_a_higher_level_is_told_again_and_a_lower_is_not(upstream: Upstream) -> None:
    upstream.watched()
    upstream.published()
    assert upstream.tell() == (1, 0)
    upstream.grade(3, 2 * HOUR)
    assert upstream.tell(2 * HOUR) == (1, 0)
    upstream.grade(2, 4 * HOUR)
    upstream.grade(3, 6 * HOUR)
    assert [upstream.tell(4 * HOUR), upstream.tell(6 * HOUR)] == [(0, 0), (0, 0)]


def test_its_end_is_told_once_to_those_who_were_told_and_then_forgotten(upstream: Upstream) -> None:
    upstream.watched()
    upstream.published()
    upstream.tell()
    upstream.sent()
    upstream.watched("late@example.org")
    upstream.end(2 * HOUR)
    assert [upstream.tell(2 * HOUR), upstream.tell(4 * HOUR)] == [(0, 1), (0, 0)]
    (mail,) = upstream.mails()
    assert (mail.address, mail.subject) == (ADDRESS, "下河：下游预警已解除")
    assert "不等于水已经干净" in mail.text
    assert count(upstream.session, "watch_told") == 0


def test_an_end_says_that_another_warning_stands(upstream: Upstream) -> None:
    upstream.watched()
    upstream.published()
    upstream.tell()
    upstream.sent()
    first = upstream.incident_id
    moderator = add_moderator(upstream.session, "乙", now=upstream.now)
    other, _report = open_on(upstream.session, upstream.river.ids[0], moderator, now=upstream.now, at=(LON, LAT))
    upstream.session.flush()
    upstream.incident_id = other.id
    upstream.published()
    upstream.incident_id = first
    values = {"now": upstream.now, "id": first}
    upstream.session.execute(text("UPDATE incident SET state = 'expired', closed_at = :now WHERE id = :id"), values)
    upstream.reckon(2 * HOUR)
    assert upstream.tell(2 * HOUR) == (0, 1)
    (mail,) = upstream.mails()
    assert mail.subject == "下河：一项下游预警已解除"
    assert "这片水体还有别的下游预警" in mail.text


def test_a_warning_that_ends_before_its_mail_went_out_is_not_read_any_more(upstream: Upstream) -> None:
    upstream.watched()
    upstream.published()
    upstream.tell()
    upstream.end(2 * HOUR)
    upstream.tell(2 * HOUR)
    assert [mail.subject for mail in upstream.mails()] == ["下河：下游预警已解除"]


def test_a_change_of_level_does_not_take_a_warning_out_of_the_post(upstream: Upstream) -> None:
    upstream.watched()
    upstream.published()
    upstream.tell()
    upstream.session.execute(
        text("INSERT INTO advisory (water_feature_id, basis, level, since, changed_at)"
             " VALUES (:id, 'confirmed', 4, :now, :now)"), {"id": upstream.river.ids[3], "now": upstream.now},
    )  # fmt: skip
    assert service.tell(upstream.session, upstream.lower, settings=upstream.settings, now=upstream.now + HOUR / 2) == 1
    assert len(upstream.mails()) == 2


def test_within_an_hour_nobody_is_told_twice_but_of_orange(upstream: Upstream) -> None:
    upstream.watched()
    upstream.published()
    upstream.session.execute(text("UPDATE watch SET told_at = :now"), {"now": upstream.now})
    found = upstream.warned(HOUR / 2)
    assert (found.told, found.again_at) == (0, upstream.now + HOUR)
    assert upstream.warned(HOUR) == Warned(1, 0, None)
    upstream.grade(4, HOUR * 1.1)
    assert upstream.tell(HOUR * 1.2) == (1, 0)


def test_many_are_told_in_several_runs(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    for nth in range(3):
        upstream.watched(f"{nth}@example.org")
    monkeypatch.setattr(approaching, "TOLD_AT_ONCE", 2)
    upstream.published()
    found = upstream.warned()
    assert (found.told, found.again_at) == (2, upstream.now + HOUR / 4)
    assert upstream.tell() == (1, 0)
    assert len({mail.address for mail in upstream.mails()}) == 3


def test_a_browsers_lock_screen_tells_neither_the_water_nor_the_incident(upstream: Upstream) -> None:
    command = WatchByBrowser(upstream.lower, Subscription("https://push.example.org/a", "key", "auth", "v"), "zh-Hans")
    service.watch_by_browser(upstream.session, command, settings=upstream.settings, now=upstream.now)
    upstream.published()
    assert upstream.tell() == (1, 0)
    posting_id = upstream.session.execute(text("SELECT id FROM posting")).scalar_one()
    held = postbox.claim(upstream.session, posting_id, settings=upstream.settings, now=upstream.now)
    assert held is not None
    payload = held.content["payload"]
    assert [word for word in ("下河", upstream.code, "污水") if word in payload] == []
    assert '"url": "/w/w-lower"' in payload


def test_an_address_that_never_said_yes_is_told_nothing(upstream: Upstream) -> None:
    command = WatchWater(upstream.lower, ADDRESS, "zh-Hans")
    service.watch_by_mail(upstream.session, command, settings=upstream.settings, now=upstream.now)
    upstream.published()
    assert upstream.tell() == (0, 0)


def test_who_begins_to_watch_while_something_is_on_its_way_is_told_of_it(upstream: Upstream) -> None:
    upstream.published()
    upstream.now += HOUR / 2
    ordered = "DELETE FROM outbox WHERE topic = 'advisories.approaching' RETURNING payload ->> 'incident_id'"
    upstream.session.execute(text(ordered))
    upstream.watched()
    assert upstream.session.execute(text(ordered)).scalars().all() == [str(upstream.incident_id)]
    assert upstream.tell() == (1, 0)


def test_who_is_warned_and_who_hears_of_the_end_are_locked_at_once(upstream: Upstream) -> None:
    """Two incidents' jobs, one of which warns whom the other lets go, would else wait for each other in a circle."""
    upstream.watched()
    upstream.published()
    with statements(upstream.session) as said:
        upstream.tell()
    assert len([one for one in said if "FOR UPDATE OF watch" in one]) == 1


def test_what_was_told_goes_with_the_watch_and_no_audit_row_names_the_incident_beside_it(upstream: Upstream) -> None:
    upstream.watched()
    upstream.published()
    upstream.tell()
    assert count(upstream.session, "watch_told") == 1
    watch_id = upstream.session.execute(text("SELECT id FROM watch")).scalar_one()
    service.end(upstream.session, watch_id, now=upstream.now)
    assert (count(upstream.session, "watch_told"), upstream.mails()) == (0, [])
    entries = upstream.session.execute(text("SELECT a::text FROM audit_entry a WHERE subject_kind = 'watch'")).scalars()
    assert [one for one in entries if str(upstream.incident_id) in one or str(upstream.lower) in one] == []


def test_who_was_told_of_what_ended_a_month_ago_is_forgotten_and_of_what_stands_is_not(upstream: Upstream) -> None:
    upstream.watched()
    upstream.published()
    upstream.tell()
    month = timedelta(days=31)
    assert approaching.forget_told(upstream.session, now=upstream.now + month) == 0
    upstream.end(2 * HOUR)
    assert approaching.forget_told(upstream.session, now=upstream.now + month - timedelta(days=2)) == 0
    assert approaching.forget_told(upstream.session, now=upstream.now + month) == 1


def test_the_job_orders_one_for_those_who_were_told_of_something_else_within_the_hour(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    context = JobContext(settings, sessions, ObjectStore(settings.objects_url))
    with transaction(sessions) as session:
        now = utc_now()
        upstream = Upstream(session, settings, now - HOUR / 2)
        upstream.watched()
        upstream.published()
        session.execute(text("UPDATE watch SET told_at = :now"), {"now": now})
        session.execute(text("DELETE FROM outbox WHERE topic <> 'advisories.approaching'"))
        outbox.emit(session, forecasts.TOPIC_APPROACHING, {"incident_id": str(upstream.incident_id)}, now=now)
    for _each in range(2):
        with transaction(sessions) as session:
            rings = outbox.lease(session, window=1, lease_s=30, topics=[forecasts.TOPIC_APPROACHING])
            message = outbox.begin(session, rings[0].id, rings[0].lease_no, lease_s=30)
        assert message is not None
        approaching.tell_approaching(context, message)
    with transaction(sessions) as session:
        waiting = session.execute(
            text("SELECT available_at FROM outbox WHERE topic = 'advisories.approaching' AND done_at IS NULL")
        )
        assert list(waiting.scalars()) == [now + HOUR]


def test_a_forecast_that_failed_and_is_tried_again_is_not_ordered_by_every_sweep(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    context = JobContext(settings, sessions, ObjectStore(settings.objects_url))
    with transaction(sessions) as session:
        upstream = Upstream(session, settings, utc_now() - 3 * HOUR)
        upstream.published()
        session.execute(text("DELETE FROM outbox"))
    assert (reckon_anew(context), reckon_anew(context)) == (1, 0)
    with transaction(sessions) as session:
        rings = outbox.lease(session, window=1, lease_s=30, topics=[forecasts.TOPIC_FORECAST])
        assert outbox.begin(session, rings[0].id, rings[0].lease_no, lease_s=30) is not None
        outbox.retry(session, rings[0].id, rings[0].lease_no, after_s=60, error="boom")
    assert reckon_anew(context) == 0
