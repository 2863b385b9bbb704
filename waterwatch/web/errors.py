"""One table from what went wrong to an HTTP status and words. Inside an error page there is never an inside view."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, abort, current_app, g, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException

from waterwatch.kernel import errors
from waterwatch.kernel.log import current_request_id, get_logger

log = get_logger(__name__)

RETRY_AFTER_S = 5  # a restarted database answers again within seconds

STATUS: dict[type[errors.DomainError], int] = {
    errors.NotFound: 404,
    errors.Forbidden: 403,
    errors.Gone: 410,
    errors.Conflict: 409,
    errors.Invalid: 400,
    errors.TooMany: 429,
    errors.Unavailable: 503,
    errors.DomainError: 400,
}

# status → (title, what to do)
PAGES = {
    400: (_l("没有看懂这次请求"), _l("请返回上一页检查后再试。")),
    401: (_l("请先登录"), _l("这一页只对有账号的人开放。请登录后再试。")),
    403: (_l("你没有权限打开这一页"), _l("如果你认为应当可以，请换一个账号登录，或联系管理员。")),
    404: (_l("没有找到这一页"), _l("请检查链接是否完整，或从首页重新开始。")),
    405: (_l("这个地址不能这样使用"), _l("请从首页重新开始。")),
    409: (_l("情况已经变化"), _l("请返回上一页，刷新后再看。")),
    410: (_l("这个链接已经失效"), _l("请使用最新的一封邮件里的链接，或从首页重新开始。")),
    412: (_l("协议版本不对"), _l("请使用支持的版本再试。")),
    413: (_l("文件太大"), _l("请选择小一些的照片再试。")),
    415: (_l("不支持这种内容"), _l("请按接口文档的格式发送。")),
    423: (_l("正在被使用"), _l("请稍等一会儿再试。")),
    428: (_l("需要先核对一下"), _l("这个网络刚刚发来很多上报。请用上报页面发送，它会自动完成核对。")),
    429: (_l("操作太频繁"), _l("请稍等一会儿再试；你填写的内容还在上一页。")),
    500: (_l("系统出了故障"), _l("不是你的错。请稍后再试；如果一直这样，请把下面的编号告诉我们。")),
    503: (_l("系统暂时不可用"), _l("请过一分钟再试。")),
}

WORDS = {
    "period_unreadable": _l("没有看懂时间。写季度或月份，例如 2026Q3 或 2026-07。"),
    "period_not_over": _l("这一期还没有结束。"),
    "figures_not_found": _l("没有这一期的数字，或者还没有公布。"),
    "figures_are_published": _l("这一期已经公布，不再改动。"),
    "figures_still_shown": _l("各部门看数字的时间还没有到。"),
    "figures_are_commented": _l("已有部门对这一期写了意见，不能重新统计。"),
    "comment_not_found": _l("没有这条意见。"),
    "comment_was_checked": _l("这条意见已经核对，不能再改。"),
    "comments_are_closed": _l("这一期的数字已经公布，不再收意见。"),
    "bulletin_not_found": _l("没有这份公报，或者还没有公开。"),
    "bulletin_recalled": _l("这份文件已经撤下：里面有内容不再公开。"),
    "bulletin_is_spoilt": _l("里面有内容不再公开，正在重新生成。"),
    "bulletin_is_not_public": _l("还没有公开的公报不用更正。"),
    "bulletin_has_later_edition": _l("已经有更新的一版。"),
    "foreword_too_long": _l("前言最多 2000 字。"),
    "reason_missing": _l("请写下理由。"),
    "report_not_found": _l("没有这条上报，或者它已被撤回。"),
    "incident_not_found": _l("没有这个事件编号。"),
    "evidence_is_for_leads": _l("只有审核组长和管理员可以取用证据包。"),
    "evidence_too_large": _l("这个事件的材料太多，一个证据包装不下。请联系管理员。"),
    "evidence_key_unusable": _l("证据包的签名密钥现在不可用。"),
    "incident_withdrawn": _l("这起事件已经撤下。"),
    "area_not_found": _l("没有这个行政区划代码。"),
    "sitemap_not_found": _l("没有这一页。"),
    "watch_ended": _l("已经不再关注，不用再确认。"),
    "water_not_found": _l("没有这片水体。"),
    "photo_not_found": _l("没有这张照片。"),
    "request_entity_too_large": _l("内容太大：除了照片，一次最多 256 KB。"),
    "link_unknown": _l("这个链接不完整或不正确。"),
    "link_expired": _l("这个链接已经过期。"),
    "lease_lost": _l("另一位审核员正在处理这一条。"),
    "report_already_accepted": _l("这条上报已经受理过了。"),
    "nothing_expected": _l("现在没有对这里的下游预警，或时间对不上。"),
    "incident_is_closed": _l("这个事件已经结束。"),
    "no_red_waiting": _l("没有等待复核的红色等级。"),
    "second_must_be_another": _l("红色等级必须由另一位审核员复核。"),
    "illegal_move": _l("这一步现在不能做：情况已经变化。"),
    "case_not_found": _l("没有这个案件。"),
    "answer_not_found": _l("没有这条答复。"),
    "answer_erased": _l("这条答复已经抹去，不能再公开。"),
    "answer_to_warning": _l("这是对下游预警的回复，不是对事件的答复，不能公开。"),
    "assignment_not_found": _l("没有这项分工。"),
    "deadline_rule_not_found": _l("没有这条时限规则。"),
    "case_taken_back": _l("这个案件已经撤回，不需要再处理。"),
    "case_has_nobody": _l("这个案件还没有主管部门。"),
    "case_refused": _l("你们已经答复不属其职责，案件已经转给别的部门。"),
    "agency_not_found": _l("没有这个部门。"),
    "agency_ambiguous": _l("叫这个名字的部门不止一个，请写部门代码。"),
    "contact_not_found": _l("没有这个联系方式。"),
    "contact_not_used": _l("这个联系方式已停用。"),
    "rule_not_found": _l("没有这条规则，可能刚被别人改过。请刷新页面。"),
    "rule_already_there": _l("完全一样的规则已经有了。"),
    "secret_not_ours": _l("这个联系方式的密钥由对方保管，请在对方那边更换。"),
    "trial_not_for_channel": _l("测试信目前只能发到电子邮箱。其他方式请等真实事件，或请对方在他们那边检查。"),
    "case_withdrawn": _l("这起事件已经撤回，原来的内容不再提供。"),
    "case_closed": _l("这个案件已经答复处理完，不能再说不属其职责。"),
    "delivery_not_found": _l("没有这次转交。"),
    "letter_not_waiting": _l("这封信已经不在等待寄出。"),
    "pictures_unavailable": _l("照片或地图暂时取不到，请稍后再试。"),
    "object_not_found": _l("没有这张照片。"),
    "photo_not_processed": _l("照片还在处理，请过一会儿再看。"),
    "not_in_review": _l("这条上报已经不在审核中。"),
    "too_late_to_withdraw": _l("这条上报已经受理，不能再撤回。"),
    "report_has_ended": _l("这条上报已经结束，没有进展可以告诉你。"),
    "contact_gone": _l("联系方式已经更改或删除，不用再确认。"),
    "contact_unknown": _l("上报人没有留联系方式。"),
    "contact_not_for_asking": _l("上报人没有同意被询问。"),
    "posting_not_found": _l("没有这封信。"),
    "posting_claimed": _l("这封信正在寄出。"),
    "staff_account": _l("工作人员的账号由管理员停用，不能自己删除。"),
    "person_unknown": _l("没有这个账号。"),
    "too_many_browsers": _l("已经有足够多的设备会收到提醒。"),
    "push_not_offered": _l("本站没有开通手机提醒。可以留一个邮箱，或保存进展页面的链接。"),
    "too_late_to_correct": _l("这条上报已经审核完毕，不能再修改。"),
    "report_changed": _l("上报人刚刚修改了这条上报。请重新打开，看过再决定。"),
    "acts_for_nobody": _l("你的账号还不属于任何机构。请联系管理员。"),
    "grader_must_be_person": _l("只有登录的审核员可以评级。"),
    "storage_full": _l("服务器暂时存不下新的照片。"),
    "objects_unavailable": _l("照片暂时取不到。"),
    "upload_unknown": _l("没有这次上传，或者地址不完整。"),
    "upload_expired": _l("这次上传放得太久，已经作废。请重新上传。"),
    "upload_busy": _l("这张照片正在由另一个请求上传。请稍等一会儿再继续。"),
    "offset_wrong": _l("续传的位置不对。请先查询已收到多少，再从那里继续。"),
    "upload_too_long": _l("收到的内容比事先说明的长。请重新上传。"),
    "tus_version": _l("续传协议的版本不对：这里只支持 tus 1.0.0。"),
    "photo_unknown": _l("照片还没有收到，或者放得太久已经删除。请重新上传照片。"),
    "photo_is_made_anew": _l("照片正在重新生成，几秒钟后再看。"),
    "photo_not_ready": _l("这张照片没有处理好，不能这样做。"),
    "original_forgotten": _l("原图已按期删除，遮盖不能取消，原图也不能再取用。"),
    "too_many_redactions": _l("一张照片最多遮盖 200 处。请用大一些的矩形。"),
    "photo_taken": _l("这张照片已经用在另一份上报里。请换一张照片。"),
    "client_exists": _l("已经有这个名称的应用。"),
    "client_unknown": _l("没有这个应用的令牌，或者它已被停用。"),
    "jurisdiction_unknown": _l("没有这个 jurisdiction_id：可以不写。"),
    "service_unknown": _l("没有这项服务。"),
    "service_request_unknown": _l("没有这个编号。"),
    "api_key_refused": _l("需要有效的 api_key。请向本站的运营者申请。"),
    "work_needed": _l("这个网络刚刚发来很多上报：请先完成附带的计算，再发一次。"),
    "device_too_many": _l("这台设备刚刚发送了很多上报。请过一会儿再发，没发出的内容不会丢。"),
    "no_patrol": _l("这条上报说的是污染，不是巡护。请评级或退回。"),
    "already_judged": _l("这条上报已经盲评过了。"),
    "case_unknown": _l("没有这道训练题，或者它已经停用。"),
    "not_decided": _l("这条上报还没有审核完，或者已经删除。"),
    "no_regrade": _l("没有可以撤销的重新评级。"),
    "report_not_here": _l("有一条上报不属于这个事件。请刷新后再试。"),
    "nothing_would_stay": _l("拆分以后，两边都要至少有一条上报。"),
    "decision_not_found": _l("没有这条决定。"),
    "not_yours": _l("这不是你的决定。"),
    "undo_over": _l("撤销的时间已经过了。要改，请告诉组长。"),
    "already_reversed": _l("这条决定已经被撤销或推翻。"),
    "not_reversible": _l("这一条不能推翻。"),
    "later_acts": _l("后面还有依据它的决定，请先撤销或推翻那一条。"),
    "moved_on": _l("这条上报的情况已经变化，不能再推翻。"),
    "erased": _l("这条上报的内容已经删除，没有什么可以重新审核。"),
    "question_open": _l("已经问过上报人，正在等回答。"),
    "question_answered": _l("上报人已经回答，问题不能收回。"),
    "no_question": _l("这个问题已经不需要回答了。谢谢你。"),
    "not_handed": _l("这条上报没有交给组长。"),
    "decides_nothing": _l("只有登录的审核员可以决定。"),
    "not_refused": _l("现在不能申诉：已经申诉过，或者内容已经删除。"),
    "appealed_before": _l("现在不能申诉：已经申诉过，或者内容已经删除。"),
    "batch_changed": _l("有几条刚刚变了，什么都没有做。请看过新的清单再决定。"),
    "same_incident": _l("不能把事件并入它自己。"),
    "appealed_against_you": _l("上报人对你的退回提出了申诉，要由别人决定"),
    "not_seconded": _l("这次红色评级没有经过复核，没有什么可以收回。"),
    "not_absorbed": _l("那起事件没有并入这一起。"),
    "question_not_found": _l("没有这个问题。"),
    "view_not_found": _l("没有这个视图，或者它已经删除。"),
    "report_not_in_incident": _l("这条上报不属于任何事件。"),
    "report_moved": _l("这条上报刚刚归到另一起事件。请刷新后再试。"),
    "officer_already": _l("这个邮箱已经是工作台的账号，请直接登录。忘了密码可以在登录页换一个。"),
    "account_is_personal": _l("为了把个人和工作分开，请让同事邀请你的单位邮箱。"),
    "office_unknown": _l("你的账号还不属于任何单位。请联系管理员。"),
    "case_of_another_agency": _l("这是下级单位的案件，贵单位只能查看。"),
    "csrf": _l("页面停留太久，安全校验已过期。请返回上一页，刷新后再提交一次。"),
}


class Application(Flask):
    """Flask, but for what it does where an answer to an error fails itself."""

    def handle_user_exception(self, e: Exception) -> HTTPException | ResponseReturnValue:
        """An answer that shows a page may find that there is none, or none for whoever asks: that is answered, too."""
        try:
            return super().handle_user_exception(e)
        except Exception as second:
            if second is e:
                raise
            return super().handle_user_exception(second)

    def log_exception(self, exc_info: Any) -> None:
        """Told by the rule that was matched: Flask's own words quote the path, and paths carry secrets."""
        route = request.url_rule.rule if request.url_rule else "(none)"
        log.error("request.failed", route=route, exc_info=exc_info)


def install_errors(app: Flask) -> None:
    """Handle domain errors, HTTP errors, an absent database and everything unforeseen."""
    app.register_error_handler(errors.DomainError, _answer_domain_error)
    app.register_error_handler(CSRFError, lambda _error: render_error(400, code="csrf"))
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(OperationalError, _answer_database_away)
    app.register_error_handler(InterfaceError, _answer_database_away)
    app.register_error_handler(Exception, _answer_unforeseen)
    app.before_request(_refuse_nul)


def _refuse_nul() -> None:
    """No address of ours holds a NUL, and no column of PostgreSQL can."""
    if "\0" in request.path:
        abort(404)
    if any("\0" in value for value in request.args.values()):
        abort(400 if is_for_programs(request.path) else 404)


def _answer_domain_error(error: errors.DomainError) -> Response:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    fields = error.errors if isinstance(error, errors.Invalid) else None
    response = render_error(status, code=error.error_code, fields=fields)
    if "retry_after_s" in error.facts:
        response.headers["Retry-After"] = str(int(error.facts["retry_after_s"]) + 1)
    return response


def _answer_http_error(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < 400:
        return error
    response = render_error(error.code, code=HTTPStatus(error.code).name.lower())
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after"):
            response.headers[name] = value
    return response


def _answer_database_away(error: Exception) -> Response:
    log.exception("database.unavailable", exception_class=type(error).__name__)
    ask_nobody_who_is_signed_in()
    response = render_error(503, code="unavailable")
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _answer_unforeseen(error: Exception) -> Response:
    log.exception("request.failed", exception_class=type(error).__name__)
    try:
        return render_error(500, code="internal_server_error")
    except Exception as second:  # what broke the page may break the error page too: say the number at least
        log.exception("error_page.failed", exception_class=type(second).__name__)
        return Response(f"500 · {current_request_id()}\n", 500, mimetype="text/plain")


def ask_nobody_who_is_signed_in() -> None:
    """From here on nobody is signed in, and neither cookie, body nor database is asked.

    For interfaces without a session, and for the error page while the database is away: it names who is signed in.
    """
    g._login_user = current_app.login_manager.anonymous_user()  # type: ignore[attr-defined]


def render_error(
    status: int, *, code: str, fields: dict[str, list[str]] | None = None, more: Mapping[str, Any] | None = None
) -> Response:
    """An error page, or problem+json (RFC 9457) for programs.

    ``fields`` maps field names to codes; ``more`` are members that programs are told besides.
    """
    title, what_to_do = PAGES.get(status, PAGES[400 if status < 500 else 500])
    message = WORDS.get(code)
    if wants_json():
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": str(title),
            "status": status,
            "code": code,
            "detail": str(message or what_to_do),
            "request_id": current_request_id(),
            **(more or {}),
        }
        if fields:
            body["errors"] = fields
        response = jsonify(body)
        response.mimetype = "application/problem+json"
    else:
        page = render_template(
            "error.html",
            status=status,
            title=title,
            message=message,
            what_to_do=what_to_do,
            request_id=current_request_id(),
        )
        response = Response(page, mimetype="text/html")
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response


def is_for_programs(path: str) -> bool:
    """Whether an address is the JSON API's, its bare beginning included."""
    return path == "/api" or path.startswith("/api/")


def wants_json() -> bool:
    """Whether the caller is a program: an API address, or one that prefers JSON to HTML."""
    if is_for_programs(request.path):
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json"])
    return best == "application/json" and (
        request.accept_mimetypes["application/json"] > request.accept_mimetypes["text/html"]
    )
