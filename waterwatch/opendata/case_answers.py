"""What an agency's own system says of a case, by the JSON API. The key is that of the letter's link: ``/a/<token>``.

It says no more and no less than an officer on the link's page; pictures are sent there. Like the rest of the API it
reads no cookie. Whatever else is wrong, whoever holds no link learns of no case.
"""

import uuid
from datetime import date, datetime

from flask import Blueprint, Response, jsonify, request
from sqlalchemy.orm import Session

from waterwatch.agencies.registry import agency_id_of
from waterwatch.casework import queries, service
from waterwatch.casework.service import Answer
from waterwatch.escalation import service as escalation
from waterwatch.escalation.channels.letter import LINK_PURPOSE
from waterwatch.escalation.queries import agency_of_case, locked_case
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.signing import open_link
from waterwatch.opendata import forms
from waterwatch.opendata.answers import CaseAnswerOut
from waterwatch.opendata.forms import CaseAnswerIn
from waterwatch.opendata.views import keep_nothing, refuse_bad_token
from waterwatch.web.errors import ask_nobody_who_is_signed_in
from waterwatch.web.guards import by_link
from waterwatch.web.house import house

bp = Blueprint("api_cases", __name__, url_prefix="/api/v1/cases")
bp.url_value_preprocessor(lambda _endpoint, _values: ask_nobody_who_is_signed_in())
bp.before_request(refuse_bad_token)
bp.after_request(keep_nothing)


@bp.post("/<token>/answers")
@by_link
def say(token: str) -> Response:
    """The agency acknowledges, answers, adds something, says that it is done, or that the case is not its own."""
    case_id = open_link(house().settings, LINK_PURPOSE, token, now=utc_now())
    told = forms.read(CaseAnswerIn, request.get_json())
    now = utc_now()
    try:
        with transaction(house().sessions) as session:
            agency_id = agency_of_case(session, case_id)
            if agency_id is None:
                raise NotFound("link_unknown")
            answer_id = _say(session, case_id, told, actor=Actor.agency_link(agency_id), now=now)
            found = _told(session, case_id, answer_id)
    except Invalid as fault:
        errors = {field: [f"{field}_{code}" for code in codes] for field, codes in fault.errors.items()}
        raise Invalid(errors) from None
    return jsonify(found.model_dump(mode="json"))


def _say(session: Session, case_id: uuid.UUID, told: CaseAnswerIn, *, actor: Actor, now: datetime) -> uuid.UUID | None:
    """The id of what was said, or None where nothing was but that somebody has the case. Sent twice it is said once."""
    if told.kind == "acknowledged":
        if locked_case(session, case_id).state == "withdrawn":
            raise Conflict("case_taken_back")
        escalation.acknowledge(session, case_id, actor=actor, now=now)
        return None
    said = Answer(
        words=told.words,
        planned_on=_day(told.planned_on),
        via="api",
        source_key=None if told.key is None else f"api:{case_id}:{told.key.lower()}",
        is_comment=told.kind == "comment",
    )
    if said.source_key is not None and (before := queries.answer_from(session, said.source_key)) is not None:
        return before  # also where it ended what can be said in the case
    settings = house().settings
    if told.kind == "not_ours":
        suggested = None if told.suggested_agency is None else _agency(session, told.suggested_agency)
        service.refuse_not_ours(session, case_id, said, suggested, settings=settings, actor=actor, now=now)
        return next(one.answer_id for one in queries.answers_of_case(session, case_id) if one.kind == "not_ours")
    act = service.report_done if told.kind == "done" else service.answer
    return act(session, case_id, said, settings=settings, actor=actor, now=now)


def _day(written: str | None) -> date | None:
    try:
        return None if written is None else date.fromisoformat(written)
    except ValueError:
        raise Invalid({"planned_on": ["malformed"]}) from None


def _agency(session: Session, code: str) -> uuid.UUID:
    found = agency_id_of(session, code)
    if found is None:
        raise Invalid({"suggested_agency": ["choice_unknown"]})
    return found


def _told(session: Session, case_id: uuid.UUID, answer_id: uuid.UUID | None) -> CaseAnswerOut:
    case = locked_case(session, case_id)
    said = None if answer_id is None else queries.answer_by_id(session, answer_id)
    return CaseAnswerOut(
        answer_id=answer_id,
        answer_state=None if said is None else said.state,
        case_state=case.state,
        acknowledged_at=case.acknowledged_at,
        due_at=case.state_deadline_at,
    )
