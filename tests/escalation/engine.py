"""Running the engine as workers do, and letting hours pass in between."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.escalation import letters, sending
from waterwatch.escalation.tables import Case, Delivery
from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings

_PASSED = (
    "UPDATE outbox SET available_at = available_at - :by, created_at = created_at - :by",
    "UPDATE delivery SET created_at = created_at - :by, due_at = due_at - :by, state_since = state_since - :by,"
    " state_deadline_at = state_deadline_at - :by",
    "UPDATE digest SET retry_at = retry_at - :by",
    "UPDATE endpoint SET open_until = open_until - :by, changed_at = changed_at - :by,"
    " probing_until = probing_until - :by",
)


@dataclass(frozen=True)
class Engine:
    """The jobs that hand letters over, against a mail server on a port."""

    settings: Settings
    sessions: sessionmaker[Session]

    def at(self, port: int, **changes: Any) -> "Engine":
        """The same with another mail server."""
        ours = {"smtp_url": f"smtp://127.0.0.1:{port}", "smtp_timeout_s": 3.0, "mail_from": "w@example.org"}
        return replace(self, settings=self.settings.model_copy(update=ours | changes))

    @property
    def context(self) -> JobContext:
        return JobContext(self.settings, self.sessions, ObjectStore(self.settings.objects_url))

    def run(self) -> int:
        """Jobs until nothing is due; how many there were."""
        jobs = 0
        while True:
            taken = []
            for topic, job in ((letters.TOPIC_DELIVER, sending.deliver), (letters.TOPIC_CALL, sending.call)):
                with transaction(self.sessions) as session:
                    message = outbox.take(session, topic, limit=1, lease_s=30)
                for one in message:
                    taken.append(one)
                    job(self.context, one)
            if not taken:
                return jobs
            jobs += len(taken)

    def pass_time(self, hours: float) -> None:
        """Let so many hours go by."""
        with transaction(self.sessions) as session:
            for statement in _PASSED:
                session.execute(text(statement), {"by": timedelta(hours=hours)})

    def deliveries(self) -> list[Delivery]:
        with transaction(self.sessions) as session:
            return session.query(Delivery).order_by(Delivery.id).all()

    def cases(self) -> list[Case]:
        with transaction(self.sessions) as session:
            return session.query(Case).order_by(Case.id).all()

    def count(self, statement: str, **values: Any) -> int:
        with transaction(self.sessions) as session:
            return int(session.execute(text(statement), values).scalar_one())
