"""What a job is given: the same three things a view has, and a clock."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings


@dataclass(frozen=True)
class JobContext:
    """One process's settings, database and object store, passed to every handler."""

    settings: Settings
    sessions: sessionmaker[Session]
    objects: ObjectStore

    def now(self) -> datetime:
        """The present instant, UTC."""
        return utc_now()
