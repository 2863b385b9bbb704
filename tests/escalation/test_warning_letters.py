"""A warning as departments get it: by mail, by their own systems, on paper, and as an alert (CAP 1.2)."""

import io
import json
import uuid
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cap_tools.models import Alert
from pypdf import PdfReader
from sqlalchemy import text
from sqlalchemy.orm import Session
from xsdata.formats.dataclass.parsers import XmlParser

from tests.advisories.rows import STEP_DEG, add_chain, network_of
from tests.escalation.engine import Engine
from tests.escalation.rows import add_agency, insert
from tests.escalation.test_warnings import LOWER, add_zone
from tests.incidents.rows import open_on
from tests.messaging.peers import http_peer, says
from tests.messaging.servers import Fickle, rude_server
from tests.moderation.rows import add_moderator
from tests.reports.rows import LAT, LON
from waterwatch.advisories import forecasts
from waterwatch.agencies.tables import SEALED_FOR
from waterwatch.escalation import reading, warnings
from waterwatch.escalation.channels import Pictures
from waterwatch.escalation.channels.post import print_letter
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.sealing import seal_value
from waterwatch.messaging.webhook import make_secret

TESTS = Actor.system("tests")
NOW = datetime.now(UTC)


def follow(engine: Engine, incident_id: uuid.UUID, now: datetime = NOW) -> None:
    with transaction(engine.sessions) as session:
        network = network_of(session)
        forecasts.reckon(session, [incident_id], network, settings=engine.settings, actor=TESTS, now=now)
        warnings.follow(session, incident_id, settings=engine.settings, actor=TESTS, now=now)


def happen(session: Session, *, by: str = "甲", kind: str = "sewage_outfall", **river: Any) -> uuid.UUID:
    """A river with an intake below an orange incident; an agency there."""
    moderator = add_moderator(session, by, now=NOW)
    chain = add_chain(session, 5, **river)
    add_zone(session, chain, 3, None)
    incident, _report = open_on(
        session, chain.ids[0], moderator, now=NOW, at=(LON + 0.02, LAT + 0.003), severity=Severity.MAJOR, kind=kind
    )
    session.flush()
    return incident.id


def kind_to_all(_recipient: str, _nth: int) -> str:
    return "kind"


def mails(server: Fickle) -> list[EmailMessage]:
    found = [message_from_bytes(copy.content, policy=default) for copy in server.copies]
    return [mail for mail in found if isinstance(mail, EmailMessage)]


def words_of(mail: EmailMessage) -> list[str]:
    bodies = [mail.get_body((kind,)) for kind in ("plain", "html")]
    return [body.get_content() for body in bodies if body is not None]


def alert_in(mail: EmailMessage) -> Alert:
    [cap] = [part for part in mail.iter_attachments() if (part.get_filename() or "").endswith(".cap.xml")]
    return XmlParser().from_bytes(cap.get_payload(decode=True), Alert)  # type: ignore[arg-type]


def test_a_mail_says_first_when_it_may_arrive_and_where_and_how_sure_that_is(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        incident_id = happen(session)
    follow(engine_of, incident_id)
    server = Fickle(kind_to_all)
    with rude_server(server) as port:
        engine_of.at(port).run()
    [mail] = mails(server)
    assert "下游预警·黄色·较大" in str(mail["Subject"])
    for words in words_of(mail):
        assert words.index("最早可能到达") < words.index("试河") < words.index("黄色·较大") or "<html" in words
        assert "饮用水取水口（下游 26 公里）" in words
        assert "均方根误差约 0.15 米/秒" in words
        assert words.count("峰浓度：约 0.1 毫克/升（数量级）") == 4
        assert words.count("不是水里实际会有的浓度，也不预报危害") == 1
        assert "不是政府发布的预警" in words
        assert "除此之外，不要求贵单位做什么" in words
        assert "https://waters.example.org/a/" in words
        assert "之前确认" not in words
        assert "首次上报" not in words
        assert f"{LAT + 0.003:.6f}" not in words
    assert not [part for part in mail.walk() if part.get_content_maintype() == "image"]
    [case] = engine_of.cases()
    assert (case.state, case.state_deadline_at, case.remind_at) == ("delivered", None, None)


def test_its_alert_has_an_onset_and_an_outline_for_each_stretch_and_is_cancelled_at_the_end(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        incident_id = happen(session)
    follow(engine_of, incident_id)
    server = Fickle(kind_to_all)
    with rude_server(server) as port:
        engine_of.at(port).run()
        with transaction(engine_of.sessions) as session:
            session.execute(text("UPDATE incident SET severity = 1, graded_severity = 1"))
        follow(engine_of, incident_id)
        engine_of.at(port).run()
    first, last = mails(server)
    alert = alert_in(first)
    assert (alert.msg_type.value, alert.scope.value) == ("Alert", "Private")
    onsets = []
    for info in alert.infos:
        assert (info.certainty.value, info.severity.value, info.language) == ("Possible", "Moderate", "zh-CN")
        [area] = info.areas
        [ring] = [[tuple(map(float, at.split(","))) for at in polygon.split()] for polygon in area.polygons]
        assert ring[0] == ring[-1]
        assert 4 <= len(ring) <= 100
        assert all(abs(lat - LAT) < 0.01 and LON + STEP_DEG - 0.01 < lon < LON + 0.3 for lat, lon in ring)
        assert info.onset is not None
        assert info.expires is not None
        onsets.append(info.onset.to_datetime())
        assert info.onset.to_datetime() < info.expires.to_datetime()
    assert len(onsets) == 4
    assert onsets == sorted(onsets)
    assert "下游预警结束" in str(last["Subject"])
    ended = alert_in(last)
    assert (ended.msg_type.value, len(ended.infos)) == ("Cancel", 0)
    assert alert.identifier in (ended.references or "")
    for words in words_of(last):
        assert "由这起事件发给贵单位的下游预警已经结束。这不等于水已经干净。" in words
        assert "别的事件" not in words
        assert "不再预计受到影响" not in words


def test_the_end_of_one_warning_says_so_where_another_stands(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        incident_id, other_id = happen(session), happen(session, by="乙")
    for one in (incident_id, other_id):
        follow(engine_of, one)
    server = Fickle(kind_to_all)
    with rude_server(server) as port:
        engine_of.at(port).run()
        for one in (incident_id, other_id):
            with transaction(engine_of.sessions) as session:
                grade = text("UPDATE incident SET severity = 1, graded_severity = 1 WHERE id = :id")
                session.execute(grade, {"id": one})
            follow(engine_of, one)
            engine_of.at(port).run()
    *_first, ended, last = mails(server)
    for mail, is_warned in ((ended, True), (last, False)):
        assert all(("还有别的事件的下游预警，仍然有效" in words) is is_warned for words in words_of(mail))


def test_without_discharges_distances_are_told_and_no_times(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        incident_id = happen(session, dis_av_cms=None, upland_skm=None)
    follow(engine_of, incident_id)
    server = Fickle(kind_to_all)
    with rude_server(server) as port:
        engine_of.at(port).run()
    [mail] = mails(server)
    for words in words_of(mail):
        assert "推算不出到达时间，只知道距离" in words
        assert "时间不详" in words
        assert "毫克" not in words
    for info in alert_in(mail).infos:
        assert info.onset is None
        assert "推算不出时间" in (info.description or "")
        assert info.expires is not None


def test_oil_is_a_caution(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        incident_id = happen(session, kind="oil_slick")
    follow(engine_of, incident_id)
    server = Fickle(kind_to_all)
    with rude_server(server) as port:
        engine_of.at(port).run()
    [mail] = mails(server)
    assert all("只作提醒" in words for words in words_of(mail))


def test_a_warning_is_in_no_digest_whatever_its_agency_prefers(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        session.execute(text("UPDATE agency SET digest_upto = 3"))
        incident_id = happen(session)
    follow(engine_of, incident_id)
    server = Fickle(kind_to_all)
    with rude_server(server) as port:
        engine_of.at(port).run()
    assert len(server.copies) == 1


def test_an_address_that_fails_is_loud_because_somebody_must_phone(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        incident_id = happen(session)
    follow(engine_of, incident_id)
    server = Fickle(lambda _recipient, _nth: "550")
    with rude_server(server) as port:
        engine_of.at(port).run()
    with transaction(engine_of.sessions) as session:
        reasons = session.execute(text("SELECT reason FROM case_alarm")).scalars().all()
    [case] = engine_of.cases()
    assert (case.state, reasons) == ("dead", ["warning_failed"])


def test_an_agencys_own_system_gets_the_stretches_as_data(engine_of: Engine) -> None:
    with http_peer(says()) as peer:
        engine = engine_of.at(1, webhook_allow=f"127.0.0.1:{peer.port}")
        with transaction(engine.sessions) as session:
            agency_id, contact_id = add_agency(session, "下游局", [], area=LOWER), new_id()
            sealed = seal_value(engine.settings, SEALED_FOR, contact_id, make_secret().encode())
            insert(session, "agency_contact", id=contact_id, agency_id=agency_id, channel="webhook", address=peer.url,
                   position=0, settings="{}", sealed_secret=sealed)  # fmt: skip
            incident_id = happen(session)
        follow(engine, incident_id)
        engine.run()
        [request] = peer.heard
    told = json.loads(request.body)
    schema = json.loads((Path(__file__).parents[2] / "docs" / "case-event.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(told)
    assert told["type"] == "case.warning"
    assert "reply_by" not in told["data"]["case"]
    segments = told["data"]["expected"]["segments"]
    assert [one["from_km"] for one in segments] == [6.0, 16.0, 26.0, 36.0]
    assert [one["unit_peak_mg_per_l"] for one in segments] == [0.1] * 4
    assert [one["at_km"] for one in told["data"]["expected"]["intakes"]] == [26.0]
    assert told["data"]["observation"]["first_reported_at"] is None
    assert told["data"]["place"]["wgs84"]["lat"] == pytest.approx(LAT, abs=1e-6)


def test_on_paper_it_is_a_table_of_waters_without_a_term(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        agency_id = add_agency(session, "下游局", [], area=LOWER)
        insert(session, "agency_contact", agency_id=agency_id, channel="post", address="某市某路 1 号", position=0,
               settings=json.dumps({"addressee": "下游局办公室"}))  # fmt: skip
        incident_id = happen(session)
    follow(engine_of, incident_id)
    engine_of.run()
    [delivery] = engine_of.deliveries()
    assert (delivery.state, delivery.says) == ("awaiting", "warning")
    with transaction(engine_of.sessions) as session:
        kept = reading.kept_delivery(session, delivery.id, "post")
        facts = reading.facts_of(session, [kept])[kept.case_id]
        letter = reading.letter_of(session, kept, facts, Pictures(None, None), settings=engine_of.settings)
    pages = PdfReader(io.BytesIO(print_letter(letter))).pages
    words = "".join(page.extract_text() for page in pages).replace("\n", "")
    assert "最早可能到达" in words
    assert "36–46" in words
    assert words.replace(" ", "").count("峰浓度：约0.1毫克/升") == 4


def test_below_a_lake_no_peak_is_told(engine_of: Engine) -> None:
    """Of five reaches the third lies in a lake: the second and the lake's inlet have one, what follows has none."""
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        incident_id = happen(session, lakes=[2])
    follow(engine_of, incident_id)
    server = Fickle(kind_to_all)
    with rude_server(server) as port:
        engine_of.at(port).run()
    [mail] = mails(server)
    for words in words_of(mail):
        assert "不早于" in words
        assert words.count("峰浓度：约 0.1 毫克/升（数量级）") == 3
        assert words.count("通过一处大约") == 3
    assert "之前确认收到" not in words


def test_the_whole_of_a_long_river_is_told_in_twelve_stretches_at_most(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER.replace(str(LON + 2), str(LON + 5)))
        moderator = add_moderator(session, "甲", now=NOW)
        river = add_chain(session, 40, km=5.0)
        incident, _report = open_on(
            session, river.ids[0], moderator, now=NOW, at=(LON + 0.02, LAT), severity=Severity.MAJOR
        )
        session.flush()
        incident_id = incident.id
    follow(engine_of, incident_id)
    server = Fickle(kind_to_all)
    with rude_server(server) as port:
        engine_of.at(port).run()
    [mail] = mails(server)
    infos = alert_in(mail).infos
    assert 6 <= len(infos) <= 12
    assert timedelta(0) < infos[-1].onset.to_datetime() - infos[0].onset.to_datetime()  # type: ignore[union-attr]
