"""Kills the process it is loaded into, at a chosen commit: the production programs run unchanged above it.

Python imports this module by itself wherever its folder is on ``PYTHONPATH``; it acts only where
``WATERWATCH_FAULTS`` names a folder. Every commit of the database has a name there, e.g. ``horse.photos.sanitise.3``
(the third commit of that job), and two boundaries, before and after. A boundary that is passed leaves a file in
``seen/``; one that has a file in ``armed/`` kills, once. ``armed/<boundary>.both`` kills the parent process as well.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("WATERWATCH_FAULTS", ""))
BORN = os.getpid()  # the RQ worker or gunicorn's arbiter; their forks have other numbers
KILLS_PER_ROW = 3  # a job that lost its worker eight times would rightly be given up
KILLS_PER_DELIVERY = 1  # each leaves a claim that has to run out first
MARKS = {
    "lease_no = lease_no + 1": "lease",
    "INSERT INTO audit_seal": "seal",
    "INSERT INTO report ": "submit",
}


class Watch(threading.local):
    """What the transaction of this thread has done, and which job this process is doing."""

    mark: str | None = None
    boundary: str | None = None
    topic: str = ""
    row: str = ""
    commits: int = 0

    def note_statement(self, _connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        """Remember what the transaction is about."""
        for words, mark in MARKS.items():
            if words in statement and cursor.rowcount != 0:
                self.mark = mark

    def before_commit(self, role: str) -> None:
        """Name the commit that is about to happen."""
        self.boundary = None
        if role == "horse" and self.topic:
            self.commits += 1
            self.boundary = f"horse.{self.topic}.{self.commits}"
        elif role != "horse" and self.mark is not None:
            self.boundary = f"{role}.{self.mark}"
        self.mark = None
        self.pass_boundary("before")

    def pass_boundary(self, side: str) -> None:
        """The commit's boundary on this side, if it has a name."""
        if self.boundary is not None:
            pass_boundary(f"{self.boundary}.{side}", self.row)


def install(role: str) -> None:
    """Watch every commit of this process and of its forks."""
    from sqlalchemy import Engine, event
    from sqlalchemy.orm import Session

    from waterwatch.kernel import outbox

    watch = Watch()
    begin = outbox.begin

    def noting_begin(session: Any, row_id: Any, lease_no: int, **options: Any) -> Any:
        message = begin(session, row_id, lease_no, **options)
        if message is not None:
            watch.topic, watch.row, watch.commits = message.topic, str(row_id), 0
        return message

    outbox.begin = noting_begin  # production modules call it through this module
    event.listen(Engine, "after_cursor_execute", watch.note_statement)
    event.listen(Engine, "commit", lambda _connection: watch.before_commit(role))
    event.listen(Session, "after_commit", lambda _session: watch.pass_boundary("after"))


def pass_boundary(name: str, row: str) -> None:
    """Leave a trace, and die here if somebody wants it."""
    (FOLDER / "seen" / name).touch()
    for armed in (FOLDER / "armed" / name, FOLDER / "armed" / f"{name}.both"):
        if not armed.exists() or not may_kill(name, row):
            continue
        try:
            armed.rename(FOLDER / "fired" / armed.name)
        except FileNotFoundError:  # another process was faster
            continue
        if armed.suffix == ".both" and os.getppid() == BORN:
            os.kill(BORN, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def may_kill(name: str, row: str) -> bool:
    """Whether this row's job has not lost its worker too often already."""
    if not row:
        return True
    for number in range(KILLS_PER_DELIVERY if "escalation" in name else KILLS_PER_ROW):
        try:
            (FOLDER / "rows" / f"{row}-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return True
    return False


def find_role() -> str | None:
    """Which of the production programs this is."""
    words = sys.orig_argv
    if "gunicorn" in words:
        return "web"
    if "workers" not in words:
        return None
    return "horse" if "--queues" in words else next((name for name in ("relay", "sweep") if name in words), None)


if os.environ.get("WATERWATCH_FAULTS") and (found := find_role()):
    install(found)
