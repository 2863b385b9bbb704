"""Says of a bundle what is whole and what is not. Trusts nothing in it, unpacks nothing, needs no database."""

import base64
import binascii
import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from waterwatch.evidence import archive, keys, rules
from waterwatch.evidence.archive import Entry
from waterwatch.evidence.rules import CUSTODY, MANIFEST, SIGNATURE, FileFacts, Finding, Manifest

_BROKEN: Final = (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, EOFError, RuntimeError, struct.error)
_LOCAL_BYTES: Final = 30  # before a file: of what these are the last four
_LOCAL_NAMES: Final = struct.Struct("<2H")
_KEPT: Final = (MANIFEST, SIGNATURE, CUSTODY)
_WITH_PHOTOS: Final = ("/report.json", "/answer.json")


@dataclass(frozen=True)
class Verdict:
    """What was found. ``signed_by`` is the trusted key that signed it; ``whole`` the files that are as they were."""

    findings: tuple[Finding, ...]
    whole: tuple[str, ...] = ()
    manifest: Manifest | None = None
    signed_by: Ed25519PublicKey | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing at all was changed since a trusted key signed it."""
        return not self.findings


@dataclass(frozen=True)
class _Read:
    facts: tuple[FileFacts, ...]
    entries: tuple[Entry, ...]
    kept: dict[str, bytes]
    findings: tuple[Finding, ...]


def verify(path: Path, trusted: Sequence[Ed25519PublicKey]) -> Verdict:
    """Everything that is wrong with a bundle, by the keys that are trusted. Never raises for what is in the file.

    Raises ``OSError`` where the file itself cannot be read.
    """
    if (refused := archive.refusal(path)) is not None:
        return Verdict((Finding(refused),))
    try:
        with zipfile.ZipFile(path) as opened, path.open("rb") as file:
            read = _read_all(opened.infolist(), file, path.stat().st_size)
    except _BROKEN:
        return Verdict((Finding("not_a_bundle"),))
    findings = list(read.findings)
    if not archive.is_ours(path, read.entries):
        findings.append(Finding("container"))
    written = read.kept.get(MANIFEST)
    if written is None:
        return Verdict((*findings, Finding("manifest_missing")))
    signed_by, faults = _check_signature(written, read.kept.get(SIGNATURE), trusted)
    findings += faults
    try:
        manifest = rules.read_manifest(written)
    except ValueError:
        return Verdict((*findings, Finding("manifest_unreadable")), signed_by=signed_by)
    others = [one for one in read.facts if one.name not in (MANIFEST, SIGNATURE)]
    findings += rules.compare(manifest, others)
    findings += _check_custody(read, others)
    wrong = {finding.name for finding in findings}
    named = {one.name for one in manifest.files}
    whole = tuple(one.name for one in others if one.name in named - wrong)
    return Verdict(tuple(findings), whole, manifest, signed_by)


def _read_all(listed: Sequence[zipfile.ZipInfo], file: BinaryIO, size_bytes: int) -> _Read:
    facts, entries, findings = [], [], []
    kept: dict[str, bytes] = {}
    budget, seen = size_bytes, set()
    for info in listed:
        budget -= info.file_size
        if not rules.is_name(info.filename):
            findings.append(Finding("unsafe_name", info.filename[:200]))
            continue
        if info.filename in seen:
            findings.append(Finding("doubled", info.filename))
            continue
        seen.add(info.filename)
        # Nothing of ours is packed; what says so, or together claims to be more than the file itself, is a bomb.
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1 or budget < 0:
            findings.append(Finding("unsafe_content", info.filename))
            continue
        facts.append(_read_one(file, info, kept))
        entries.append(Entry(info.filename, info.CRC, info.file_size))
    return _Read(tuple(facts), tuple(entries), kept, tuple(findings))


def _read_one(file: BinaryIO, info: zipfile.ZipInfo, kept: dict[str, bytes]) -> FileFacts:
    """A file's facts, whatever the archive's own checksum says: the manifest's word is what counts.

    Of one that ends too soon, what is there. What is looked into later is kept.
    """
    digest, left, held = hashlib.sha256(), info.file_size, b""
    file.seek(info.header_offset)
    before = file.read(_LOCAL_BYTES)
    file.seek(sum(_LOCAL_NAMES.unpack_from(before, _LOCAL_BYTES - _LOCAL_NAMES.size)), os.SEEK_CUR)
    while left and (chunk := file.read(min(left, archive.CHUNK_BYTES))):
        digest.update(chunk)
        left -= len(chunk)
        if _is_looked_into(info.filename) and len(held) <= rules.MAX_MANIFEST_BYTES:
            held += chunk
    if _is_looked_into(info.filename):
        kept[info.filename] = held
    return FileFacts(info.filename, digest.hexdigest(), info.file_size - left)


def _is_looked_into(name: str) -> bool:
    return name in _KEPT or name.endswith(_WITH_PHOTOS)


def _check_signature(
    manifest: bytes, signature: bytes | None, trusted: Sequence[Ed25519PublicKey]
) -> tuple[Ed25519PublicKey | None, list[Finding]]:
    if signature is None:
        return None, [Finding("signature_missing")]
    signed = rules.signed_bytes(manifest)
    try:
        raw = base64.b64decode(signature.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None, [Finding("signature_broken")]
    for key in trusted:
        if keys.is_signed_by(key, raw, signed):
            return key, []
    try:
        (named,) = keys.read_public_keys(rules.read_manifest(manifest).public_key.encode())
        is_of_its_own = keys.is_signed_by(named, raw, signed)
    except (keys.KeyUnusable, ValueError):
        is_of_its_own = False
    return None, [Finding("key_unknown" if is_of_its_own else "signature_broken")]


def _check_custody(read: _Read, others: Sequence[FileFacts]) -> list[Finding]:
    """The acts and their seals; and each original is what was recorded when it arrived."""
    custody = read.kept.get(CUSTODY)
    if custody is None:
        return []  # missing, which is said already
    there = {one.name: one.sha256 for one in others}
    originals: dict[str, str] = {}
    for name, written in read.kept.items():
        if not name.endswith(_WITH_PHOTOS):
            continue
        try:
            photos = json.loads(written)["photos"]
            named = {
                str(one["photo_id"]): there.get(str(one["original_file"])) for one in photos if one["original_file"]
            }
        except (LookupError, TypeError, AttributeError, ValueError, RecursionError):
            return [Finding("custody_unreadable", name)]
        originals |= {photo_id: sha256 for photo_id, sha256 in named.items() if sha256 is not None}
    return rules.check_custody(custody, originals)
