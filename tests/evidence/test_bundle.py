"""What is in a bundle and what is not, and that whoever asked is on record first."""

import hashlib
import json
import subprocess
import uuid
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation import rows
from tests.evidence.conftest import LEAD, NOTE, WORDS, Case, Fixed, add_photo, add_ready_photo, photograph
from waterwatch.casework.tables import CaseAnswerPhoto
from waterwatch.escalation.tables import CaseRound
from waterwatch.evidence import bundling, keys, queries
from waterwatch.evidence.bundling import Made
from waterwatch.evidence.forms import OpenBundle, read_open_bundle
from waterwatch.evidence.verification import verify
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Forbidden, Invalid, NotFound
from waterwatch.photos import tags
from waterwatch.photos.rules import Limits

Make = Callable[..., tuple[Path, Made]]


def document(path: Path, name: str) -> Any:
    with zipfile.ZipFile(path) as opened:
        found: dict[str, object] = json.loads(opened.read(name))
    return found


def test_a_bundle_holds_the_originals_as_they_came(make: Make, case: Case, context: Fixed) -> None:
    path, made = make(with_named=True)
    assert (made.originals, made.withheld, made.forgotten) == (2, 0, 1)
    with zipfile.ZipFile(path) as opened:
        names = opened.namelist()
        held = {opened.read(name) for name in names if "/original." in name}
    assert held == set(case.originals.values())
    assert names[:2] == ["manifest.json", "manifest.sig"]
    assert names[2:] == sorted(names[2:])
    assert path.stat().st_mode & 0o777 == 0o600
    assert verify(path, keys.public_keys(context.settings)).findings == ()


def test_an_original_that_may_name_somebody_stays_unless_asked_for(make: Make, case: Case) -> None:
    path, made = make()
    assert (made.originals, made.withheld, made.forgotten) == (1, 1, 1)
    photos = document(path, "reports/01/report.json")["photos"]
    assert isinstance(photos, list)
    assert [one["original"] for one in photos] == ["included", "withheld"]
    assert [one["sha256"] for one in photos] == [hashlib.sha256(one).hexdigest() for one in case.originals.values()]
    (gone,) = document(path, "reports/02/report.json")["photos"]
    assert (gone["original"], gone["original_file"]) == ("forgotten", None)


def test_nothing_in_a_bundle_leads_to_whoever_reported(make: Make, context: Fixed) -> None:
    path, _ = make()
    whole = path.read_bytes()
    with transaction(context.sessions) as session:
        digests = session.execute(text("SELECT follow_digest, submission_digest FROM report")).all()
    for secret in (NOTE, WORDS, "王小明", "13800138000", "SN-0042", "contact.kept", "dddddddd"):
        assert secret.encode() not in whole, secret
    for row in digests:
        assert row.follow_digest not in whole
        assert row.follow_digest.hex().encode() not in whole
        assert row.submission_digest.hex().encode() not in whole


def test_where_it_was_is_told_with_every_distance(make: Make) -> None:
    report = document(make()[0], "reports/01/report.json")
    place, (photo, _) = report["place"], report["photos"]
    assert isinstance(place, dict)
    assert place["confirmed"] == {"lon": 114.3055, "lat": 30.5928, "source": "pin"}
    assert 14 < place["device"]["distance_m"] < 15
    assert place["device"]["accuracy_m"] == 12.0
    assert photo["exif_place"]["distance_m"] == 0.0
    assert report["measured"] == {"ph": 9.1}


def test_the_camera_s_words_are_told_without_its_serial_number(make: Make) -> None:
    path, _ = make()
    exif = document(path, "reports/01/photo-1/exif.json")
    assert exif["tags"]["Image"] == {"Make": "HUAWEI", "Model": "NOH-AN00"}
    assert exif["tags"]["Photo"] == {"DateTimeOriginal": "2026:05:20 10:12:13"}
    assert exif["tags"]["GPS"]["GPSLatitude"] == ["30/1", "35/1", "852/25"]
    assert (exif["withheld"], exif["may_name_somebody"]) == ([], False)
    named = document(path, "reports/01/photo-2/exif.json")
    assert (named["withheld"], named["may_name_somebody"]) == (["Artist", "BodySerialNumber"], True)


@pytest.mark.parametrize(
    ("file", "may"),
    [
        (photograph(), False),
        (photograph(artist=""), False),
        (photograph(artist="王"), True),
        (photograph(serial="SN-0042"), True),
        (photograph()[:2] + b"\xff\xfe\x00\x09by Wang" + photograph()[2:], True),
        (b"no picture", True),
    ],
)
def test_whose_a_file_is_may_be_told_by_it(file: bytes, may: bool, tmp_path: Path, context: Fixed) -> None:
    (tmp_path / "file").write_bytes(file)
    read = tags.read_tags(tmp_path / "file", Limits.from_settings(context.settings))
    assert read["may_name_somebody"] is may


def test_grades_and_letters_are_told_without_free_words(make: Make) -> None:
    path, _ = make()
    (grade,) = document(path, "grades.json")["grades"]
    assert (grade["inputs"], grade["points"], grade["severity"], grade["has_departed"]) == (
        {"extent": "spot"},
        5,
        3,
        True,
    )
    told = document(path, "cases.json")
    (delivery,) = told["deliveries"]
    assert (delivery["address"], delivery["state"]) == ("huanbao@wuhan.example", "sent")
    (answer,) = told["answers"]
    assert (answer["words"], answer["photos_sha256"]) == ("已责成整改。", [])
    (found,) = told["cases"]
    assert found["agency_name"] == "武汉市生态环境局"


def test_what_was_due_who_supervised_and_the_rounds_before_are_told(make: Make, case: Case, context: Fixed) -> None:
    now = context.now()
    times = {
        name: now + timedelta(hours=hour)
        for hour, name in enumerate(
            ("acknowledged_at", "answered_at", "closed_at", "acknowledge_by", "answer_by", "finish_by", "escalated_at")
        )
    }
    with transaction(context.sessions) as session:
        below = session.execute(text("SELECT id FROM escalation_case")).scalar_one()
        above_agency = rows.add_agency(session, "湖北省生态环境厅", ["ting@hubei.example"], level="province")
        facts = {"incident_id": case.incident_id, "state_since": now, "severity": 3, "created_at": now}
        rows.insert(
            session, "escalation_case", agency_id=above_agency, state="delivered", role="supervising",
            supervises_id=below, **facts, **times,
        )  # fmt: skip
        session.add(CaseRound(case_id=below, number=1, severity=3, reopened_at=now, **times))
    told = document(make()[0], "cases.json")
    wanted = {name: at.isoformat() for name, at in times.items()}
    (above,) = [one for one in told["cases"] if one["role"] == "supervising"]
    assert above["supervises_id"] == str(below)
    assert {name: above[name] for name in times} == wanted
    (before,) = told["rounds"]
    assert (before["case_id"], before["number"], before["reopened_at"]) == (str(below), 1, now.isoformat())
    assert {name: before[name] for name in times} == wanted


def test_the_photos_of_an_answer_are_in_it_and_proved_like_a_citizens(
    make: Make, case: Case, context: Fixed, tmp_path: Path
) -> None:
    original = photograph(shade=92)
    with transaction(context.sessions) as session:
        answers = {row.state: row.id for row in session.execute(text("SELECT state, id FROM case_answer"))}
        photos = [add_ready_photo(session, context, content, tmp_path) for content in (original, photograph(shade=93))]
        for photo_id, state in zip(photos, ("published", "withheld"), strict=True):
            session.add(CaseAnswerPhoto(photo_id=photo_id, answer_id=answers[state], position=1))
    path, made = make()
    assert made.originals == 2  # one of the two that citizens sent may name somebody
    with zipfile.ZipFile(path) as opened:
        named = [name for name in opened.namelist() if name.startswith("answers/")]
        assert opened.read("answers/01/photo-1/original.jpg") == original
        assert opened.read("answers/01/photo-1/picture.jpg") == b"a picture of " + photos[0].bytes
    assert named == ["answers/01/answer.json", *(f"answers/01/photo-1/{name}" for name in FILES)]
    answer = document(path, "answers/01/answer.json")
    (photo,) = answer["photos"]
    assert (answer["words"], photo["sha256"]) == ("已责成整改。", hashlib.sha256(original).hexdigest())
    assert photo["exif_place"]["distance_m"] == 0.0
    assert verify(path, keys.public_keys(context.settings)).findings == ()
    with transaction(context.sessions) as session:
        demanded = session.execute(
            text("SELECT count(*) FROM audit_entry WHERE action = 'photo.original_opened' AND subject_id = ANY(:ids)"),
            {"ids": photos},
        )
        assert demanded.scalar_one() == 1  # what was withheld was not asked for


def test_an_original_that_came_after_the_demand_is_not_in_it(
    make: Make, case: Case, context: Fixed, tmp_path: Path
) -> None:
    with transaction(context.sessions) as session:
        report_id = session.execute(text("SELECT report_id FROM report_photo WHERE position = 1")).scalar_one()
    came: list[uuid.UUID] = []

    def arrive(_session: Session) -> None:
        with transaction(sessionmaker(context.sessions.kw["bind"])) as later:
            came.append(add_photo(later, context, report_id, photograph(shade=94), 2, tmp_path))

    event.listen(context.sessions, "after_commit", arrive, once=True)  # the demand is on record, nothing is read yet
    path, made = make(with_named=True)
    assert (made.originals, made.later) == (2, 1)
    photos = {one["photo_id"]: one for one in document(path, "reports/01/report.json")["photos"]}
    assert [(photos[str(one)]["original"], photos[str(one)]["original_file"]) for one in came] == [("later", None)]
    with zipfile.ZipFile(path) as opened:
        named = [name for name in opened.namelist() if name.startswith("reports/01/photo-3/")]
        originals = [name for name in opened.namelist() if "/original." in name]
    assert (named, len(originals)) == (["reports/01/photo-3/picture.jpg"], 2)
    assert verify(path, keys.public_keys(context.settings)).findings == ()
    with transaction(context.sessions) as session:
        demanded = session.execute(
            text("SELECT count(*) FROM audit_entry WHERE action = 'photo.original_opened' AND subject_id = ANY(:ids)"),
            {"ids": came},
        )
        assert demanded.scalar_one() == 0


FILES = ("exif.json", "original.jpg", "picture.jpg")


def test_the_chain_of_custody_holds_this_case_s_acts_under_their_seals(make: Make) -> None:
    custody = document(make()[0], "custody.json")
    acts = [json.loads(one["act"])["action"] for one in custody["acts"]]
    assert acts.count("photo.received") == 3
    assert acts.count("photo.original_opened") == 2
    assert acts[-1] == "evidence.opened"
    assert "agencies.loaded" not in acts
    assert all(one["seal"] for one in custody["acts"])


def test_who_demands_one_is_on_record_with_the_reason_and_the_digest(make: Make, case: Case, context: Fixed) -> None:
    path, made = make()
    with transaction(context.sessions) as session:
        (opened,) = queries.openings(session)
    assert (opened.by, opened.reason, opened.reference) == ("lead@example.org", "authority_demand", "HB-2026-12")
    assert opened.sha256 == made.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_demand_that_fails_is_on_record_all_the_same(case: Case, context: Fixed, tmp_path: Path) -> None:
    command = OpenBundle(case.code, "court")
    with pytest.raises(FileNotFoundError):
        bundling.make_bundle(context, command, tmp_path / "no" / "folder.zip", roles=LEAD, actor=case.actor)
    with transaction(context.sessions) as session:
        (opened,) = queries.openings(session)
    assert (opened.reason, opened.sha256) == ("court", None)
    assert list(context.settings.spool_dir.iterdir()) == []


@pytest.mark.parametrize("roles", [frozenset(), frozenset({"moderator"}), frozenset({"agency_officer", "citizen"})])
def test_nobody_else_may(roles: frozenset[str], case: Case, context: Fixed, tmp_path: Path) -> None:
    with pytest.raises(Forbidden):
        bundling.make_bundle(context, OpenBundle(case.code, "court"), tmp_path / "x.zip", roles=roles, actor=case.actor)
    with transaction(context.sessions) as session:
        assert queries.openings(session) == []


def test_a_bundle_of_nothing_is_none(case: Case, context: Fixed, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        bundling.make_bundle(context, OpenBundle("2222-2222", "court"), tmp_path / "x", roles=LEAD, actor=case.actor)


def test_a_demand_says_everything_that_is_wrong_with_it() -> None:
    with pytest.raises(Invalid) as refused:
        read_open_bundle({"reason": "curiosity", "reference": "王 小明"})
    assert refused.value.errors == {
        "code": ["missing"],
        "reason": ["choice_unknown"],
        "reference": ["reference_unreadable"],
    }


def test_the_same_case_at_the_same_moment_is_the_same_file(
    make: Make, context: Fixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is made anew each time (the bundle's id, the acts of making it) is held still."""
    gathered = bundling.service.gather
    held: list[object] = []

    def same(*given: object) -> object:
        held.append(held[0] if held else gathered(*given))  # type: ignore[arg-type]
        return held[0]

    monkeypatch.setattr(bundling.service, "gather", same)
    opened = bundling.service.open_bundle
    first: list[object] = []

    def once(*given: object, **named: object) -> object:
        first.append(first[0] if first else opened(*given, **named))  # type: ignore[arg-type]
        return first[0]

    monkeypatch.setattr(bundling.service, "open_bundle", once)
    one, other = make("one.zip")[0].read_bytes(), make("other.zip")[0].read_bytes()
    assert hashlib.sha256(one).hexdigest() == hashlib.sha256(other).hexdigest()


def test_openssl_and_unzip_verify_it_as_the_readme_says(make: Make, context: Fixed, tmp_path: Path) -> None:
    path, _ = make()
    with zipfile.ZipFile(path) as opened:
        opened.extractall(tmp_path / "out")
    (tmp_path / "key.pem").write_text(keys.to_pem(keys.public_keys(context.settings)))
    script = r"""(printf 'waterwatch-evidence/1\n'; cat out/manifest.json) > signed
        base64 -d out/manifest.sig > signature
        openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in signed -sigfile signature"""
    done = subprocess.run(["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "Signature Verified Successfully"), done.stderr
    for one in json.loads((tmp_path / "out" / "manifest.json").read_bytes())["files"]:
        assert hashlib.sha256((tmp_path / "out" / one["name"]).read_bytes()).hexdigest() == one["sha256"]
    readme = (tmp_path / "out" / "README.txt").read_text()
    assert readme.startswith("江湖網")
    assert "How to verify it" in readme
