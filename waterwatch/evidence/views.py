"""The public key of bundles; the lead's page of who demanded which, and where one is demanded."""

from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from flask import Blueprint, Response, render_template, request, send_file
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from waterwatch.evidence import bundling, keys, queries
from waterwatch.evidence.forms import read_open_bundle
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from waterwatch.web.errors import WORDS
from waterwatch.web.guards import public, requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor

bp = Blueprint("evidence", __name__, template_folder="templates")

REASON_WORDS = {
    "authority_demand": _l("执法部门依法调取"),
    "court": _l("法院或仲裁"),
    "agency_request": _l("主管部门办案需要"),
    "internal_review": _l("本平台内部复核"),
}

ERROR_WORDS = {
    "missing": _l("请填写或选择。"),
    "choice_unknown": _l("请从列出的理由中选一个。"),
    "reference_unreadable": _l("编号只能写字母、数字和 . - _ : +，最多 60 个。"),
    "incident_not_found": WORDS["incident_not_found"],
    "evidence_too_large": WORDS["evidence_too_large"],
}


@bp.get("/.well-known/waterwatch-evidence.pem")
@public
def show_key() -> BaseResponse:
    """The keys that bundles are verified by: today's, and those of former ones."""
    try:
        pem = keys.to_pem(keys.public_keys(house().settings))
    except keys.KeyUnusable:
        raise Unavailable("evidence_key_unusable", retry_after_s=300.0) from None
    return Response(pem, mimetype="application/x-pem-file", headers={"Cache-Control": "public, max-age=3600"})


@bp.get("/desk/evidence")
@requires("unseal")
def show() -> str:
    """Who demanded which bundle, and why."""
    return _render({})


@bp.post("/desk/evidence")
@requires("unseal")
def demand() -> BaseResponse | tuple[str, int]:
    """A bundle, to be saved. That it was demanded, by whom and why, is on record before a byte of it is read."""
    settings = house().settings
    settings.spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(mkdtemp(prefix=bundling.FOLDER_PREFIX, dir=settings.spool_dir))
    try:
        command = read_open_bundle(request.form)
        context = JobContext(settings, house().sessions, house().objects)
        roles = frozenset(one.role.name for one in current_user.memberships)
        bundling.make_bundle(context, command, folder / "bundle.zip", roles=roles, actor=current_actor())
        bundle = (folder / "bundle.zip").open("rb")  # what is open is read to its end, though it has no name any more
    except Invalid as error:
        return _render(error.errors), 400
    except (NotFound, Conflict) as error:
        return _refused(error)
    except keys.KeyUnusable:
        raise Unavailable("evidence_key_unusable", retry_after_s=300.0) from None
    finally:
        rmtree(folder, ignore_errors=True)
    name = f"waterwatch-{command.code}-{utc_now():%Y%m%d}.zip"
    answer = send_file(bundle, mimetype="application/zip", as_attachment=True, download_name=name)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _refused(error: NotFound | Conflict) -> tuple[str, int]:
    """On the page what is about the incident that was named; raises anything else again."""
    if error.error_code not in ERROR_WORDS:
        raise error
    return _render({"code": [error.error_code]}), 404 if isinstance(error, NotFound) else 409


def _render(errors: Mapping[str, list[str]]) -> str:
    with transaction(house().sessions) as session:
        opened = queries.openings(session)
    return render_template(
        "evidence/openings.html",
        opened=opened,
        fields=request.form or request.args,
        reasons=REASON_WORDS,
        error_words={name: [ERROR_WORDS[code] for code in codes] for name, codes in errors.items()},
        fingerprint=_fingerprint(),
    )


def _fingerprint() -> str | None:
    try:
        return keys.print_of(keys.public_keys(house().settings)[0])
    except keys.KeyUnusable:
        return None
