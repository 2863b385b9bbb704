"""Rows and files, compared: objects nobody refers to are removed, references to missing objects are reported."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction

ZONES = ("quarantine/", "public/", "bulletins/")
YOUNG = timedelta(hours=1)  # an upload writes its object before its row

_REFERENCES = text("""
SELECT original_key AS key FROM photo WHERE original_key IS NOT NULL
UNION ALL SELECT key FROM photo_derivative
UNION ALL SELECT object_key FROM incoming_mail WHERE object_key IS NOT NULL
UNION ALL SELECT key FROM bulletin_file
""")


@dataclass(frozen=True)
class Findings:
    """``orphans``: objects older than an hour without a row; ``missing``: rows whose object is not there."""

    orphans: tuple[str, ...]
    missing: tuple[str, ...]


def compare(context: JobContext) -> Findings:
    """Look at everything once. Objects are listed before rows are read, so a new upload is never called missing."""
    horizon = context.now() - YOUNG
    stored = {item.key: item.modified_at for zone in ZONES for item in context.objects.list(zone)}
    with transaction(context.sessions) as session:
        referenced = set(session.execute(_REFERENCES).scalars())
    orphans = sorted(key for key, modified_at in stored.items() if key not in referenced and modified_at < horizon)
    missing = sorted(key for key in referenced - stored.keys() if not context.objects.has(key))
    return Findings(tuple(orphans), tuple(missing))


def remove(context: JobContext, findings: Findings) -> Iterator[str]:
    """Delete the orphans, yielding each key once it is gone."""
    for key in findings.orphans:
        context.objects.delete(key)
        yield key
