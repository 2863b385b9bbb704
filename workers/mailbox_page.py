"""The mailbox's folder and its page, which changes nothing; what it answers for a department goes to the demo's inbox.

What a mail's HTML may do is bounded twice: the frame it is shown in and the answer that carries it both say
``sandbox``, so no script in it runs.
"""

import mimetypes
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from flask import Blueprint, Flask, Response, abort, current_app, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from waterwatch.kernel.ids import new_id
from workers.mailbox_answers import ANSWERS, send_back

LISTED = 200
OWN_NAMES = ["127.0.0.1", "localhost"]
_NAME = re.compile(r"[0-9a-f-]{36}")
_CID = re.compile(r"""(?i)(["'])cid:([^"'<>\s]+)\1""")
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
# A page the mail links to must work whole: it leaves the sandbox by opening in a window of its own.
FRAME_SANDBOX = "allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation"
_FRAME_POLICY = f"sandbox {FRAME_SANDBOX}; default-src 'none'; style-src 'unsafe-inline'; img-src {{origin}}"


@dataclass(frozen=True)
class Summary:
    """A mail as the list shows it."""

    name: str
    subject: str
    sender: str
    recipient: str
    received_at: datetime
    size_bytes: int


class Store:
    """A folder of mails, one file each, named by UUIDv7: their order is the order in which they arrived."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add(self, content: bytes) -> str:
        """Keep a mail; it is durable when this returns. Gives its name."""
        name = str(new_id())
        draft = self._folder / f"{name}.part"
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._path(name))
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return name

    def newest(self, limit: int = LISTED) -> list[Summary]:
        """The latest mails, newest first; only their headers are read."""
        paths = sorted(self._folder.glob("*.eml"), reverse=True)[:limit]
        return [_summarise(path) for path in paths]

    def count(self) -> int:
        """How many mails there are."""
        return sum(1 for _ in self._folder.glob("*.eml"))

    def read(self, name: str) -> bytes | None:
        """A mail byte by byte, or None."""
        if not _NAME.fullmatch(name):
            return None
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.eml"


def _summarise(path: Path) -> Summary:
    with path.open("rb") as file:
        head = b"".join(iter(lambda: _header_line(file.readline()), b""))
    mail = message_from_bytes(head, policy=default)
    facts = path.stat()
    return Summary(
        path.stem,
        str(mail["Subject"] or ""),
        str(mail["From"] or ""),
        str(mail["Delivered-To"] or mail["To"] or ""),
        datetime.fromtimestamp(facts.st_mtime).astimezone(),
        facts.st_size,
    )


def _header_line(line: bytes) -> bytes:
    return b"" if line in (b"\r\n", b"\n") else line


bp = Blueprint("mailbox", __name__)


def make_page(store: Store, inbox: str = "") -> Flask:
    """The page of one folder. It answers only under this machine's own names: no other site reads it by a browser.

    ``inbox`` is where answers written on it go, ``host:port``; empty: nobody can answer.
    """
    app = Flask(__name__, template_folder="templates/mailbox", static_folder=None)
    app.config["TRUSTED_HOSTS"] = OWN_NAMES
    app.extensions["mailbox"] = store
    app.config["INBOX"] = inbox
    app.jinja_env.filters["local_time"] = lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}"
    app.register_blueprint(bp)
    app.after_request(_bound)
    return app


def _store() -> Store:
    store = current_app.extensions["mailbox"]
    assert isinstance(store, Store)
    return store


def _read(name: str) -> bytes:
    content = _store().read(name)
    if content is None:
        abort(404)
    return content


def _open(name: str) -> EmailMessage:
    mail = message_from_bytes(_read(name), policy=default)
    assert isinstance(mail, EmailMessage)
    return mail


@bp.get("/")
def show_list() -> str:
    """The latest mails, refreshed every few seconds."""
    store = _store()
    return render_template("list.html", mails=store.newest(), count=store.count(), now=datetime.now().astimezone())


@bp.get("/style.css")
def show_style() -> Response:
    """The page's one style sheet."""
    return Response(render_template("style.css"), mimetype="text/css")


@bp.get("/<name>")
def show_mail(name: str) -> str:
    """One mail: its headers, its page in a frame, its plain text, its parts."""
    mail = _open(name)
    text = mail.get_body(("plain",))
    return render_template(
        "mail.html",
        name=name,
        mail=mail,
        headers=[(key, str(value)) for key, value in mail.items()],
        text=text.get_content() if text is not None else None,
        has_html=mail.get_body(("html",)) is not None,
        sandbox=FRAME_SANDBOX,
        parts=list(_parts(mail)),
        answers=ANSWERS if current_app.config["INBOX"] and mail["Reply-To"] else {},
        is_sent=request.args.get("sent", ""),
    )


@bp.post("/<name>/answer")
def answer(name: str) -> BaseResponse:
    """What a department's mail server would send back: a person's answer, an automatic one, a bounce."""
    mail, kind = _open(name), request.form.get("kind", "")
    is_ours = request.headers.get("Sec-Fetch-Site") == "same-origin"  # no other page's form
    if not is_ours or not current_app.config["INBOX"] or kind not in ANSWERS or not mail["Reply-To"]:
        abort(400)
    try:
        send_back(current_app.config["INBOX"], mail, kind, request.form.get("text", ""))
        sent = "yes"
    except OSError:  # of smtplib, too
        sent = "no"
    return redirect(f"/{name}?sent={sent}", 303)


@bp.get("/<name>/html")
def show_html(name: str) -> Response:
    """The HTML part, its ``cid:`` pictures pointed at :func:`show_part`, its links opening in a window of their own."""
    body = _open(name).get_body(("html",))
    if body is None:
        abort(404)
    page = _CID.sub(rf"\1/{name}/part/\2\1", body.get_content())
    base = '<base target="_blank">'
    page = page.replace("<head>", f"<head>{base}", 1) if "<head>" in page else base + page
    return Response(page, mimetype="text/html")


@bp.get("/<name>/part/<content_id>")
def show_part(name: str, content_id: str) -> Response:
    """A picture inside the mail."""
    found = [part for part in _open(name).walk() if part["Content-ID"] == f"<{content_id}>"]
    if not found or found[0].get_content_maintype() != "image":
        abort(404)
    return Response(found[0].get_content(), mimetype=found[0].get_content_type())


@bp.get("/<name>/raw")
def show_raw(name: str) -> Response:
    """The mail as it came."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.eml"'}
    return Response(_read(name), mimetype="message/rfc822", headers=headers)


@dataclass(frozen=True)
class Part:
    """One leaf of a mail's structure."""

    media_type: str
    label: str
    size_bytes: int


def _parts(mail: EmailMessage) -> Iterator[Part]:
    for part in mail.walk():
        if not part.is_multipart():
            content = part.get_payload(decode=True)
            label = part.get_filename() or (mimetypes.guess_extension(part.get_content_type()) or "")
            yield Part(part.get_content_type(), label, len(content) if isinstance(content, bytes) else 0)


def _bound(response: Response) -> Response:
    is_frame = request.endpoint == "mailbox.show_html"
    # In a sandbox without an origin of its own, 'self' is nobody: the pictures' address is named instead.
    policy = _FRAME_POLICY.format(origin=request.host_url.rstrip("/")) if is_frame else _PAGE_POLICY
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
