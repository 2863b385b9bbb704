"""Citizens' own accounts: registering, a forgotten password, and the mails. Wired into Flask-Security by ``views``.

Whoever types an address learns nothing of it: the page says the same, and takes as long, whether there is an account or
not, and only the mailbox itself is told more, at most so often a day.
"""

import time
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, g, request
from flask_babel import lazy_gettext as _l
from flask_security import MailUtil
from flask_security.forms import ForgotPasswordForm, ResetPasswordForm
from flask_security.utils import get_message
from sqlalchemy.orm import Session, scoped_session

from waterwatch.accounts import queries
from waterwatch.accounts.tables import Membership, Person
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.ids import new_id
from waterwatch.postbox import service as postbox
from waterwatch.postbox.service import About, Mail
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language

PEOPLE = "waterwatch_people"  # the extension that holds the sessions Flask-Security works on
CONFIRM_WITHIN = timedelta(days=2)
RESET_WITHIN = timedelta(hours=2)
RESET, RESET_DONE = "account.reset", "account.reset_done"
# Where an address is typed by whoever likes. What is done for one that has an account takes longer than for another.
ASKING = frozenset({"security.register", "security.send_confirmation", "security.forgot_password"})
ANSWER_AFTER_S = 0.5  # what a machine under load needs for the longest of them
# Template of the library → kind of the posting.
KINDS = {
    "security/email/welcome": "account.welcome",
    "security/email/welcome_existing": "account.existing",
    "security/email/confirmation_instructions": "account.confirm",
    "security/email/reset_instructions": RESET,
    "security/email/reset_notice": RESET_DONE,
}


class Letters(MailUtil):
    """The library's mails, taken by the postbox in the transaction of what they are about."""

    def send_mail(
        self,
        template: str,
        subject: Any,
        recipient: Any,
        sender: Any,
        body: str | None,
        html: str | None,
        **context: Any,
    ) -> None:
        """Post one mail. An address that was written to so often today gets no further one, and nobody is told so."""
        _ = sender
        people: scoped_session[Session] = current_app.extensions[PEOPLE]
        open_session, settings, now = people(), house().settings, utc_now()
        user, kind, address = context["user"], KINDS[template], str(recipient)
        open_session.flush()
        if kind == RESET and user.is_staff and user.tf_primary_method is None:
            return  # whoever reads that mailbox would set up the second factor as well
        if kind == RESET_DONE:  # in the transaction of the change, which is committed below
            _note_reset(open_session, user)
        if not postbox.is_pestered(open_session, address, kind, settings=settings, now=now):
            mail = Mail(address, str(subject), body or "", html or "", viewer_language())
            postbox.post_mail(open_session, About(kind, user.id, user.id), mail, settings=settings, now=now)
        people.commit()


class ForgottenForm(ForgotPasswordForm):
    """Says of an address what anybody sees by looking at it, and nothing of whether somebody has it."""

    def validate(self, **kwargs: Any) -> bool:
        """Whether a letter is to go. What is said of the field the library withholds, what of the form it does not."""
        is_valid = bool(super().validate(**kwargs))
        seen = [str(get_message(code)[0]) for code in ("EMAIL_NOT_PROVIDED", "INVALID_EMAIL_ADDRESS")]
        self.form_errors += [words for words in map(str, self.email.errors) if words in seen]
        return is_valid


class NewPasswordForm(ResetPasswordForm):
    """A new password, typed once: whoever slips asks for another letter."""

    password_confirm = None


def install_even_answers(app: Flask) -> None:
    """Answer whoever typed an address after the same time, whether there is an account or not."""

    @app.after_request
    def _wait(response: Response) -> Response:
        is_turned_away = response.status_code == HTTPStatus.TOO_MANY_REQUESTS  # at once: a flood shall hold no thread
        if request.method == "POST" and request.endpoint in ASKING and not is_turned_away:
            people: scoped_session[Session] = current_app.extensions[PEOPLE]
            people.remove()  # nobody waits with a connection of the database in hand
            time.sleep(max(0.0, ANSWER_AFTER_S - (time.perf_counter() - g.started)))
        return response


def _note_reset(open_session: Session, person: Person) -> None:
    audit.record(
        open_session,
        action="person.password_reset",
        subject_kind="person",
        subject_id=person.id,
        actor=Actor.anonymous(),
        now=utc_now(),
    )


def add_citizen(open_session: Session, person: Person) -> None:
    """Complete somebody who has just registered: their role, and that it happened. They are not confirmed yet."""
    now = utc_now()
    person.id, person.created_at, person.language = new_id(), now, viewer_language()
    open_session.add(person)
    open_session.flush()
    open_session.add(
        Membership(
            id=new_id(),
            person_id=person.id,
            organisation_id=queries.default_organisation_id(open_session),
            role_id=queries.role_by_name(open_session, "citizen").id,
            created_at=now,
        )
    )
    open_session.flush()
    open_session.refresh(person, ["memberships"])
    audit.record(
        open_session,
        action="person.registered",
        subject_kind="person",
        subject_id=person.id,
        actor=Actor.anonymous(),
        now=now,
        after={"role": "citizen"},
    )


def options() -> dict[str, Any]:
    """What the library is told about registering and about forgotten passwords."""
    return {
        "SECURITY_REGISTERABLE": True,
        "SECURITY_CONFIRMABLE": True,
        "SECURITY_PASSWORD_CONFIRM_REQUIRED": False,
        "SECURITY_CONFIRM_EMAIL_WITHIN": CONFIRM_WITHIN,
        "SECURITY_POST_REGISTER_VIEW": "/login",
        "SECURITY_POST_CONFIRM_VIEW": "/login?next=/my",
        "SECURITY_RECOVERABLE": True,
        # What a link's token holds is no password but a long random value's digest, or the address it is sent to: one
        # that is slow to compute would only tell by the time it takes. The old ones, for links that are under way.
        "SECURITY_HASHING_SCHEMES": ["hex_sha256", "sha256_crypt", "hex_md5"],
        "SECURITY_RESET_PASSWORD_WITHIN": RESET_WITHIN,
        "SECURITY_AUTO_LOGIN_AFTER_RESET": False,  # the second factor is asked for as at every sign-in
        "SECURITY_POST_RESET_VIEW": "/login",
        "SECURITY_EMAIL_SUBJECT_PASSWORD_RESET": _l("换一个密码"),
        "SECURITY_EMAIL_SUBJECT_PASSWORD_NOTICE": _l("密码已更换"),
        "SECURITY_EMAIL_SUBJECT_REGISTER": SUBJECT,
        "SECURITY_EMAIL_SUBJECT_CONFIRM": SUBJECT,
        **{f"SECURITY_MSG_{name}": words for name, words in MESSAGES.items()},
    }


SUBJECT = _l("请确认你的邮箱")
MESSAGES = {
    "CONFIRM_REGISTRATION": (_l("请打开我们刚寄出的邮件，点里面的链接，然后就可以登录。"), "success"),
    "CONFIRMATION_REQUEST": (_l("如果这个邮箱注册过、还没有确认，确认信已经寄出。"), "info"),
    "EMAIL_CONFIRMED": (_l("邮箱已确认，请登录。"), "success"),
    "ALREADY_CONFIRMED": (_l("邮箱已经确认过，请登录。"), "info"),
    "INVALID_CONFIRMATION_TOKEN": (_l("这个链接不完整或不正确。"), "error"),
    "CONFIRMATION_EXPIRED": (_l("这个链接已经过期。请填写邮箱，再寄一封。"), "error"),
    "CONFIRMATION_REQUIRED": (_l("请先打开我们寄出的邮件，确认邮箱。"), "error"),
    "PASSWORD_RESET_REQUEST": (_l("如果这个邮箱有账号，换密码的邮件已经寄出。"), "info"),
    "PASSWORD_RESET_EXPIRED": (_l("这个链接已经过期。请填写邮箱，再寄一封。"), "error"),
    "INVALID_RESET_PASSWORD_TOKEN": (_l("这个链接不完整、已经用过或不正确。请填写邮箱，再寄一封。"), "error"),
    "PASSWORD_RESET_NO_LOGIN": (_l("密码已更换，请用新密码登录。"), "success"),
    "PASSWORD_INVALID_LENGTH": (_l("密码要有 %(length)s 到 128 个字符。"), "error"),
    "EMAIL_ALREADY_ASSOCIATED": (_l("请填写正确的邮箱地址。"), "error"),
}
