"""Queues, and the processes that serve them: ``python -m workers work`` keeps one for each team of queues.

This module imports none of the slices: the supervisor stays small beside its workers.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from waterwatch.kernel.log import get_logger
from workers.stopping import Stop

PHOTOS, LETTERS, CALLS, MAIL, MAP, PAPER = "photos", "letters", "calls", "mail", "map", "paper"
QUEUES = (PHOTOS, LETTERS, CALLS, MAIL, MAP, PAPER)
# A job of these queues goes on with what else is due: a ring or two wake it, and more would only wait for it.
DRAINED = frozenset({LETTERS, CALLS})
# A mail server that hangs holds the mail process alone; pictures and the map go on beside it. Letters to departments go
# before mails to single people, and beside them in the last. Servers that hang hold a process of their own. Bulletins
# take minutes, and nobody waits for them: the last makes them when it has nothing else to do.
TEAMS: tuple[tuple[str, ...], ...] = ((PHOTOS, MAP), (LETTERS, MAIL), (CALLS,), (MAP, MAIL, LETTERS, PHOTOS, PAPER))
LOOK_EVERY_S = 0.5
RESTART_PAUSE_FIRST_S, RESTART_PAUSE_CAP_S = 0.5, 5.0
STOP_GRACE_S = 12.0  # for the job under way
SETTLED_S = 5.0  # one that lived so long did not die of its start
log = get_logger(__name__)


class Team:
    """One worker process and its restarts: at once when it had worked, ever slower when it dies young."""

    def __init__(self, queues: Sequence[str]) -> None:
        self.queues = ",".join(queues)
        self._pause_s = RESTART_PAUSE_FIRST_S
        self._start_at = 0.0
        self._started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def look_after(self, now_s: float) -> None:
        """Start it, or start it again when its pause is over. ``now_s`` is monotonic."""
        if self._process is not None and self._process.poll() is not None:
            lived_s = now_s - self._started_at
            self._pause_s = (
                RESTART_PAUSE_FIRST_S if lived_s >= SETTLED_S else min(RESTART_PAUSE_CAP_S, 2 * self._pause_s)
            )
            status = self._process.returncode
            log.error("worker.died", queues=self.queues, status=status, restart_after_s=self._pause_s)
            self._start_at, self._process = now_s + self._pause_s, None
        if self._process is None and now_s >= self._start_at:
            self._started_at, self._process = now_s, self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        # The kernel ends the child with this process, whatever ends this process.
        command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "workers", "work", "--queues", self.queues]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def ask_to_stop(self) -> None:
        """Let it finish its job and end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def await_end(self, deadline_s: float) -> None:
        """Wait for it until then (monotonic), and end it: a job cut short is done again when its lease runs out."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout=max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.error("worker.ended_by_force", queues=self.queues)
            self._process.kill()
            self._process.wait()


def supervise(stop: Stop) -> None:
    """Keep one process per team running until told to stop; then give each :data:`STOP_GRACE_S` to finish its job."""
    teams = [Team(queues) for queues in TEAMS]
    while not stop.is_set():
        for team in teams:
            team.look_after(time.monotonic())
        stop.wait(LOOK_EVERY_S)
    for team in teams:
        team.ask_to_stop()
    deadline_s = time.monotonic() + STOP_GRACE_S
    for team in teams:
        team.await_end(deadline_s)
