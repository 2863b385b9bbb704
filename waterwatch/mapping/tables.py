"""What was published, when, from which state of the truth."""

import uuid
from datetime import datetime

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base


class Publication(Base):
    """One atomic publication of the public map; the newest row is what the manifest points at."""

    __tablename__ = "publication"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    published_at: Mapped[datetime]
    geometry_file: Mapped[str] = mapped_column(Text)
    levels_file: Mapped[str] = mapped_column(Text)
    incidents_file: Mapped[str] = mapped_column(Text)
