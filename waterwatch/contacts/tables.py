"""How the author of a report may be reached: apart from the report, sealed, and gone as soon as it has served."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base

# By name: this room lies under the one of the reports and knows nothing of them.
_REPORT = "report.id"


class ReportContact(Base):
    """Mail address or telephone number of a report's author, and what each may be used for.

    ``sealed`` holds both. ``id`` changes with every change of the contact, so that a link in an old mail confirms and
    stops nothing but what it was sent for. ``confirmed_at``: somebody who reads that mailbox wants the notices.
    """

    __tablename__ = "report_contact"
    __table_args__ = (
        CheckConstraint("has_email OR has_phone", name="has_some"),
        CheckConstraint("has_email OR NOT by_mail", name="mail_needs_address"),
        CheckConstraint("has_email OR confirmed_at IS NULL", name="confirmed_address"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(_REPORT, ondelete="CASCADE"), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    has_email: Mapped[bool]
    has_phone: Mapped[bool]
    by_mail: Mapped[bool]
    may_ask: Mapped[bool]
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]


class PushSubscription(Base):
    """A browser that shows a message when the report has come further. ``sealed`` holds its address and its keys."""

    __tablename__ = "push_subscription"
    __table_args__ = (
        UniqueConstraint("report_id", "endpoint_digest"),
        CheckConstraint("octet_length(endpoint_digest) = 32", name="endpoint_digest"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(_REPORT, ondelete="CASCADE"))
    endpoint_digest: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
