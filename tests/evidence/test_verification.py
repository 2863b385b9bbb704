"""Each way of tampering, and what is said of it."""

import base64
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.evidence.conftest import Fixed, add_ready_photo, photograph
from waterwatch.casework.tables import CaseAnswerPhoto
from waterwatch.evidence import archive, keys, rules
from waterwatch.evidence.bundling import Made
from waterwatch.evidence.rules import FINDINGS, Finding
from waterwatch.evidence.verification import verify
from waterwatch.kernel.db import transaction

Make = Callable[..., tuple[Path, Made]]
Files = list[tuple[str, bytes]]
PICTURE = "reports/01/photo-1/picture.jpg"
ORIGINAL = "reports/01/photo-1/original.jpg"


@pytest.fixture
def bundle(make: Make) -> Path:
    return make()[0]


def files_of(path: Path) -> Files:
    with zipfile.ZipFile(path) as opened:
        return [(info.filename, opened.read(info)) for info in opened.infolist()]


def rewrite(path: Path, files: Files, folder: Path) -> None:
    """Write a bundle as ours is written, of other files."""
    written = []
    for number, (name, content) in enumerate(files):
        (folder / f"part-{number}").write_bytes(content)
        written.append((name, folder / f"part-{number}"))
    with path.open("wb") as sink:
        archive.write(sink, written)


def found(path: Path, context: Fixed) -> set[tuple[str, str, str]]:
    verdict = verify(path, keys.public_keys(context.settings))
    assert verdict.is_whole == (not verdict.findings)
    assert all(finding.code in FINDINGS for finding in verdict.findings)
    return {(one.code, one.name, one.other) for one in verdict.findings}


def swapped(files: Files, name: str, change: Callable[[bytes], bytes]) -> Files:
    return [(one, change(content) if one == name else content) for one, content in files]


def test_an_untouched_bundle_is_whole_and_every_file_is_named(bundle: Path, context: Fixed) -> None:
    verdict = verify(bundle, keys.public_keys(context.settings))
    assert verdict.is_whole
    assert set(verdict.whole) == {name for name, _ in files_of(bundle)} - {"manifest.json", "manifest.sig"}
    assert verdict.manifest is not None
    assert verdict.manifest.reason == "authority_demand"


def test_a_byte_of_a_file_that_is_changed_is_told_of_that_file(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    rewrite(bundle, swapped(files_of(bundle), PICTURE, lambda b: b"A" + b[1:]), tmp_path)
    assert found(bundle, context) == {("changed", PICTURE, "")}
    assert PICTURE not in verify(bundle, keys.public_keys(context.settings)).whole


def test_a_file_that_is_gone_is_missing(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    rewrite(bundle, [one for one in files_of(bundle) if one[0] != "grades.json"], tmp_path)
    assert found(bundle, context) == {("missing", "grades.json", "")}


def test_a_file_that_was_not_there_is_added(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    rewrite(bundle, [*files_of(bundle), ("reports/09/report.json", b"{}")], tmp_path)
    assert ("added", "reports/09/report.json", "") in found(bundle, context)
    rewrite(
        bundle, [one for one in files_of(bundle) if not one[0].startswith("reports/09")] + [("z.txt", b"z")], tmp_path
    )
    assert found(bundle, context) == {("added", "z.txt", "")}


def test_a_file_that_is_called_otherwise_is_renamed(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    renamed = [("a.json" if name == "grades.json" else name, content) for name, content in files_of(bundle)]
    rewrite(bundle, renamed, tmp_path)
    assert found(bundle, context) == {("renamed", "a.json", "grades.json")}


def test_two_files_that_changed_names_are_both_changed(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    other = {ORIGINAL: PICTURE, PICTURE: ORIGINAL}
    rewrite(bundle, [(other.get(name, name), content) for name, content in files_of(bundle)], tmp_path)
    told = found(bundle, context)
    assert {("changed", ORIGINAL, ""), ("changed", PICTURE, "")} <= told


def test_another_order_is_told(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    files = files_of(bundle)
    rewrite(bundle, [*files[:2], *reversed(files[2:])], tmp_path)
    assert found(bundle, context) == {("reordered", "", "")}


def test_a_manifest_that_was_edited_is_not_the_signed_one(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    rewrite(
        bundle, swapped(files_of(bundle), "manifest.json", lambda b: b.replace(b"authority_demand", b"court")), tmp_path
    )
    assert found(bundle, context) == {("signature_broken", "", "")}


def test_a_manifest_made_to_fit_a_change_is_not_the_signed_one(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    files = swapped(files_of(bundle), "grades.json", lambda _: b'{"grades": []}\n')
    facts = dict(files)
    manifest = rules.read_manifest(facts["manifest.json"])

    anew = tuple(
        rules.FileFacts(one.name, hashlib.sha256(facts[one.name]).hexdigest(), len(facts[one.name]))
        for one in manifest.files
    )

    written = rules.write_manifest(replace(manifest, files=anew))
    rewrite(bundle, swapped(files, "manifest.json", lambda _: written), tmp_path)
    assert found(bundle, context) == {("signature_broken", "", "")}


def test_another_key_is_unknown_even_where_it_names_itself(bundle: Path, context: Fixed, tmp_path: Path) -> None:

    other = Ed25519PrivateKey.generate()
    files = files_of(bundle)
    manifest = rules.read_manifest(dict(files)["manifest.json"])
    written = rules.write_manifest(replace(manifest, public_key=keys.to_pem([other.public_key()])))
    signature = base64.b64encode(other.sign(rules.signed_bytes(written)))
    files = swapped(swapped(files, "manifest.json", lambda _: written), "manifest.sig", lambda _: signature)
    rewrite(bundle, files, tmp_path)
    assert found(bundle, context) == {("key_unknown", "", "")}
    assert verify(bundle, [other.public_key()]).is_whole


def test_a_signature_of_something_else_or_of_nothing_is_broken(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    key = keys.signing_key(context.settings)
    files = files_of(bundle)
    for signature in (b"", b"not base64!", base64.b64encode(key.sign(dict(files)["manifest.json"]))):
        rewrite(bundle, swapped(files, "manifest.sig", lambda _, s=signature: s), tmp_path)  # type: ignore[misc]
        assert found(bundle, context) == {("signature_broken", "", "")}


def test_without_manifest_or_signature_nothing_is_proved(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    files = files_of(bundle)
    rewrite(bundle, [one for one in files if one[0] != "manifest.sig"], tmp_path)
    assert found(bundle, context) == {("signature_missing", "", "")}
    rewrite(bundle, [one for one in files if one[0] != "manifest.json"], tmp_path)
    assert found(bundle, context) == {("manifest_missing", "", "")}
    rewrite(bundle, swapped(files, "manifest.json", lambda _: b"[1]"), tmp_path)
    assert found(bundle, context) == {("manifest_unreadable", "", ""), ("signature_broken", "", "")}


def resigned(bundle: Path, context: Fixed, folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file as only the signer could: with a manifest and a signature to fit."""

    files = swapped(files_of(bundle), name, change)
    facts = dict(files)
    manifest = rules.read_manifest(facts["manifest.json"])
    anew = tuple(
        rules.FileFacts(one.name, hashlib.sha256(facts[one.name]).hexdigest(), len(facts[one.name]))
        for one in manifest.files
    )
    written = rules.write_manifest(replace(manifest, files=anew))
    signature = base64.b64encode(keys.signing_key(context.settings).sign(rules.signed_bytes(written)))
    files = swapped(swapped(files, "manifest.json", lambda _: written), "manifest.sig", lambda _: signature)
    rewrite(bundle, files, folder)


def test_an_act_that_was_rewritten_breaks_its_seal_whoever_signs(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    resigned(bundle, context, tmp_path, "custody.json", lambda b: b.replace(b"incident.opened", b"incident.expired", 1))
    ((code, name, number),) = found(bundle, context)
    assert (code, name) == ("custody_broken", "custody.json")
    assert number.isdigit()


def test_an_act_that_was_taken_out_and_its_seal_given_to_another_is_told(
    bundle: Path, context: Fixed, tmp_path: Path
) -> None:
    def exchange(written: bytes) -> bytes:
        custody = json.loads(written)
        acts = custody["acts"]
        acts[1]["seal"], acts[0]["seal"] = acts[0]["seal"], acts[1]["seal"]
        return rules.canonical(custody)

    resigned(bundle, context, tmp_path, "custody.json", exchange)
    assert {code for code, _, _ in found(bundle, context)} == {"custody_broken"}


def test_an_original_unlike_the_one_recorded_at_arrival_is_told_whoever_signs(
    bundle: Path, context: Fixed, tmp_path: Path
) -> None:
    resigned(bundle, context, tmp_path, ORIGINAL, lambda b: b + b"x")
    ((code, photo_id, _),) = found(bundle, context)
    assert code == "unlike_record"
    assert len(photo_id) == 36


@pytest.mark.parametrize(
    "name", ["../evil.sh", "/etc/passwd", "a/../../b", "C:\\x", "a//b", "a/b/", ".hidden", "a\x00b"]
)
def test_a_name_that_leads_out_of_a_folder_is_unsafe(bundle: Path, context: Fixed, name: str) -> None:
    with zipfile.ZipFile(bundle, "a") as opened:
        opened.writestr(zipfile.ZipInfo(name), b"x")
    codes = {code for code, _, _ in found(bundle, context)}
    assert "container" in codes
    assert codes & {"unsafe_name", "added"}


def test_a_bomb_is_not_unpacked(bundle: Path, context: Fixed) -> None:
    with zipfile.ZipFile(bundle, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("bomb.txt", bytes(200 * 1024 * 1024))
    assert ("unsafe_content", "bomb.txt", "") in found(bundle, context)


def test_a_file_that_claims_to_be_larger_than_the_bundle_is_not_read(bundle: Path, context: Fixed) -> None:
    raw = bytearray(bundle.read_bytes())
    at = raw.rfind(b"PK\x01\x02")
    raw[at + 20 : at + 28] = (2**31 - 1).to_bytes(4, "little") * 2
    bundle.write_bytes(raw)
    codes = {code for code, _, _ in found(bundle, context)}
    assert "unsafe_content" in codes


def test_a_directory_of_a_million_files_is_not_read(bundle: Path, context: Fixed) -> None:
    raw = bytearray(bundle.read_bytes())
    raw[-22 + 8 : -22 + 12] = b"\xff\xff\xff\xff"
    bundle.write_bytes(raw)
    assert found(bundle, context) == {("too_large", "", "")}


def test_a_directory_of_the_larger_format_is_not_looked_for(bundle: Path, context: Fixed) -> None:
    raw = bundle.read_bytes()
    body, end = raw[:-22], raw[-22:]
    directory = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**6, 10**6, 10**9, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(body), 1)
    bundle.write_bytes(body + directory + locator + end)
    assert found(bundle, context) == {("too_large", "", "")}


def test_a_large_directory_whose_size_is_written_as_another_mark_is_not_read(bundle: Path, context: Fixed) -> None:
    raw = bytearray(bundle.read_bytes())
    raw[-22 + 12 : -22 + 16] = b"PK\x05\x06"  # as a number, a hundred million bytes
    bundle.write_bytes(raw)
    assert found(bundle, context) == {("too_large", "", "")}


@pytest.mark.parametrize("comment", [b"PK\x05\x06", b"PK\x05\x06" + bytes(17), b"x", bytes(22)])
def test_a_directory_that_is_told_before_the_last_bytes_is_not_read(
    bundle: Path, context: Fixed, comment: bytes
) -> None:
    end = bytearray(bundle.read_bytes()[-22:])
    end[8:12], end[20:22] = b"\xff\xff\xff\xff", len(comment).to_bytes(2, "little")
    bundle.write_bytes(bundle.read_bytes()[:-22] + end + comment)
    assert found(bundle, context) == {("not_a_bundle", "", "")}


def test_the_same_name_twice_is_told(bundle: Path, context: Fixed) -> None:
    with zipfile.ZipFile(bundle, "a") as opened, pytest.warns(UserWarning, match="Duplicate name"):
        opened.writestr("grades.json", b"{}")
    assert ("doubled", "grades.json", "") in found(bundle, context)


@pytest.mark.parametrize("change", [lambda b: b + b"x", lambda b: b"x" + b, lambda b: b[:-1] + b"\x01"])
def test_bytes_before_behind_and_in_the_archive_s_own_are_told(
    bundle: Path, context: Fixed, change: Callable[[bytes], bytes]
) -> None:
    bundle.write_bytes(change(bundle.read_bytes()))
    codes = {code for code, _, _ in found(bundle, context)}
    assert codes & {"container", "not_a_bundle"}


def test_a_bundle_packed_anew_by_another_program_holds_the_same_files(bundle: Path, context: Fixed) -> None:
    files = files_of(bundle)
    with zipfile.ZipFile(bundle, "w") as opened:
        for name, content in files:
            opened.writestr(name, content)
    assert found(bundle, context) == {("container", "", "")}


def test_what_is_no_archive_is_no_bundle(tmp_path: Path, context: Fixed) -> None:
    for number, content in enumerate((b"", b"PK", b"hello" * 1000, b"PK\x05\x06" + bytes(18), b"PK\x05\x06")):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        assert found(path, context) <= {("not_a_bundle", "", ""), ("container", "", ""), ("manifest_missing", "", "")}


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_single_byte_can_be_changed_unseen(
    bundle: Path, context: Fixed, tmp_path: Path, data: st.DataObject
) -> None:
    raw = bytearray(bundle.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    spoilt = tmp_path / "spoilt.zip"
    spoilt.write_bytes(raw)
    assert found(spoilt, context)


def test_an_archive_of_ours_is_one_that_others_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"")
    written = io.BytesIO()
    archive.write(written, [("x/a.txt", tmp_path / "a"), ("b.txt", tmp_path / "b")])
    with zipfile.ZipFile(written) as opened:
        assert opened.testzip() is None
        assert [(one.filename, opened.read(one)) for one in opened.infolist()] == [("x/a.txt", b"one"), ("b.txt", b"")]


def test_a_key_of_the_operator_s_own_is_used_and_a_broken_one_is_said_to_be(tmp_path: Path, context: Fixed) -> None:
    own = Ed25519PrivateKey.generate()
    path = tmp_path / "evidence.pem"
    path.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    chosen = context.settings.model_copy(update={"evidence_key": path})
    (public,) = keys.public_keys(chosen)
    assert public.public_bytes_raw() == own.public_key().public_bytes_raw()
    path.write_text("no key")
    with pytest.raises(keys.KeyUnusable):
        keys.signing_key(chosen)


def test_a_secret_that_is_being_changed_still_proves_the_bundles_of_the_one_before(
    bundle: Path, context: Fixed
) -> None:
    secret = type(context.settings.secret_key)
    changed = {"secret_key": secret("n" * 40), "secret_key_previous": context.settings.secret_key}
    published = keys.public_keys(context.settings.model_copy(update=changed))
    assert len(published) == 2
    assert verify(bundle, published).is_whole
    assert keys.read_public_keys(keys.to_pem(published).encode())[1] is not None
    assert Finding("key_unknown") in verify(bundle, published[:1]).findings


def test_a_bundle_is_proved_long_after_its_key_was_changed(bundle: Path, context: Fixed, tmp_path: Path) -> None:
    secret = type(context.settings.secret_key)
    changed = context.settings.model_copy(update={"secret_key": secret("n" * 40)})
    assert Finding("key_unknown") in verify(bundle, keys.public_keys(changed)).findings
    retired = tmp_path / "retired.pem"
    twice = keys.public_keys(context.settings) * 2 + keys.public_keys(changed)  # as appending leaves it
    retired.write_text(keys.to_pem(twice))
    kept = changed.model_copy(update={"evidence_keys_retired": retired})
    published = keys.public_keys(kept)
    assert len(published) == 2
    assert published[0].public_bytes_raw() == keys.signing_key(changed).public_key().public_bytes_raw()
    assert verify(bundle, published).is_whole
    for broken in (tmp_path / "nowhere.pem", tmp_path):
        with pytest.raises(keys.KeyUnusable):
            keys.public_keys(changed.model_copy(update={"evidence_keys_retired": broken}))


def test_an_answers_original_unlike_the_one_recorded_at_arrival_is_told_whoever_signs(
    make: Make, context: Fixed, tmp_path: Path
) -> None:
    with transaction(context.sessions) as session:
        answer_id = session.execute(text("SELECT id FROM case_answer WHERE state = 'published'")).scalar_one()
        photo_id = add_ready_photo(session, context, photograph(shade=92), tmp_path)
        session.add(CaseAnswerPhoto(photo_id=photo_id, answer_id=answer_id, position=1))
    bundle = make()[0]
    resigned(bundle, context, tmp_path, "answers/01/photo-1/original.jpg", lambda b: b + b"x")
    assert found(bundle, context) == {("unlike_record", str(photo_id), "")}
