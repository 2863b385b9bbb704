"""How what an agency says comes in: its words, its photos durable first, then one transaction. For desk and link alike.

Two officers who answer at once: both answers are kept, in the order they came. Where the first one ended the case, the
second is told so and gets every word back on the page (``case_moved``).
"""

import uuid
from collections.abc import Callable

from flask import g, request
from flask_wtf.csrf import validate_csrf
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict
from wtforms import ValidationError  # type: ignore[import-untyped]

from waterwatch.casework import service as casework
from waterwatch.casework.service import Answer
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.kernel.ids import new_id
from waterwatch.officers import forms
from waterwatch.officers.forms import PHOTOS_PER_ANSWER
from waterwatch.photos.rules import quarantine_key
from waterwatch.reports.intake import ReceivedPhoto
from waterwatch.web.house import house
from waterwatch.web.uploads import Spool, UploadLimits, fields_before_files, spool_uploads
from waterwatch.workdays.rules import CHINA_TIME

Check = Callable[[Session], None]  # raises unless whoever asks may speak for the case's agency


def begin_spool() -> None:
    """Before anything reads the form, CSRF protection included: its files go straight to the spool."""
    limits = UploadLimits(max_file_bytes=house().settings.photo_max_bytes, max_files=PHOTOS_PER_ANSWER)
    g.spool = spool_uploads(request, house().settings.spool_dir, limits)


def discard_spool(_error: BaseException | None) -> None:
    """When the request ends, whatever happened."""
    if (spool := g.pop("spool", None)) is not None:
        spool.discard()


def typed_before_photos() -> MultiDict[str, str]:
    """What was typed into a form whose photos are too large to be read. Nothing where the form is not our page's."""
    typed = fields_before_files(request)
    try:
        validate_csrf(typed.get("csrf_token"))
    except ValidationError:
        return MultiDict()
    return typed


def kind_of(endpoint: str | None, typed: MultiDict[str, str]) -> str:
    """Which form it was, by the view it went to."""
    if (endpoint or "").endswith("report_done"):
        return "done"
    return "comment" if typed.get("comment") else "answer"


def say(case_id: uuid.UUID, kind: str, *, via: str, actor: Actor, check: Check) -> None:
    """Take an answer, something to add to it (``comment``), or that it is done. Sent twice it is taken once.

    Raises :class:`Invalid` with every fault, :class:`Conflict` when it moved."""
    spool: Spool = g.spool
    now = utc_now()
    today = now.astimezone(CHINA_TIME).date()
    said = forms.parse_said(request.form, spool.files, left_out=spool.left_out, today=today)
    photos = [
        ReceivedPhoto(photo_id, quarantine_key(photo_id), part.size_bytes, part.sha256)
        for photo_id, part in ((new_id(), part) for part in spool.files)
    ]
    act = casework.report_done if kind == "done" else casework.answer
    is_committing = False
    try:
        for photo, part in zip(photos, spool.files, strict=True):
            house().objects.adopt_file(photo.object_key, part.make_durable())
            part.path = None
        with transaction(house().sessions) as session:
            check(session)
            command = Answer(
                words=said.words,
                planned_on=said.planned_on,
                photos=tuple(photos),
                via=via,
                source_key=said.source_key(case_id),
                is_comment=kind == "comment",
            )
            act(session, case_id, command, settings=house().settings, actor=actor, now=now)
            is_committing = True
    except BaseException:
        if not is_committing:
            for photo in photos:
                house().objects.delete(photo.object_key)
        raise


def refuse(case_id: uuid.UUID, *, via: str, actor: Actor, check: Check) -> None:
    """Take that a case is another agency's. Raises as :func:`say`."""
    said = forms.parse_not_ours(request.form)
    with transaction(house().sessions) as session:
        check(session)
        casework.refuse_not_ours(
            session,
            case_id,
            Answer(words=said.reason, via=via),
            said.agency_id,
            settings=house().settings,
            actor=actor,
            now=utc_now(),
        )


def faults_of(fault: Invalid | Conflict) -> tuple[dict[str, list[str]], int]:
    """What to say on the page, by field, and the status. Files are to be chosen again whatever was wrong."""
    if isinstance(fault, Conflict):
        return {"words": ["case_moved"]}, 409
    errors = dict(fault.errors)
    if (spool := g.get("spool")) is not None and spool.files and "photo" not in errors:
        errors["photo"] = ["photo_choose_again"]
    return errors, 400
