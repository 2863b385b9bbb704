"""What a view may reach for: the settings, the database and the object store of this process."""

from dataclasses import dataclass

from flask import current_app
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings

EXTENSION = "waterwatch"


@dataclass(frozen=True)
class House:
    """Made once by ``create_app``; never changed. ``reader``: for what is one question, asked over and over."""

    settings: Settings
    engine: Engine
    sessions: sessionmaker[Session]
    objects: ObjectStore
    reader: Engine


def house() -> House:
    """The running application's house. Only views and what wires them may call this."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, House)
    return found
