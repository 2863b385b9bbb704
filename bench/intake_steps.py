"""One upload taken apart, in one process: what parsing, fsync, the rename and each part of the transaction cost."""

import io
import itertools
import os
import statistics
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Request
from sqlalchemy import event
from werkzeug.test import EnvironBuilder

from bench.intake import BOUNDARY, FIELDS, multipart
from waterwatch.kernel.db import make_engine, make_sessions
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.reports import forms, intake
from waterwatch.web.uploads import UploadLimits, spool_uploads

STEPS = (
    "parse + hash + spool",
    "form → command",
    "fsync of the photo",
    "rename + folder fsync",
    "transaction: statements",
    "transaction: commit",
)


def print_steps(environment: dict[str, str], photo: bytes, *, uploads: int) -> None:
    """Time each step of ``uploads`` uploads, one after the other, and print medians and p95."""
    os.environ.update(environment)
    settings = Settings.from_environ()
    engine = make_engine(settings.database_url)
    sessions, objects = make_sessions(engine), ObjectStore(settings.objects_url)
    statements: dict[str, list[float]] = {}
    _time_statements(engine, statements)
    seen: dict[str, list[float]] = {step: [] for step in STEPS}
    for number in range(uploads + 3):
        times = _one_upload(settings, sessions, objects, photo)
        if number < 3:
            statements.clear()  # warm: prepared plans, page cache
            continue
        for step, elapsed_s in zip(STEPS, times, strict=True):
            seen[step].append(elapsed_s)
    engine.dispose()
    print(f"\none upload of {len(photo) // 1024} KiB taken apart, one after another in one process, {uploads} times")
    total = sum(statistics.median(times) for times in seen.values())
    for step, times in seen.items():
        median = statistics.median(times)
        print(f"  {step:26}{median * 1000:8.2f} ms  p95 {_p95(times) * 1000:8.2f} ms  {median / total:6.1%}")
    print(f"  {'sum of medians':26}{total * 1000:8.2f} ms")
    for table, times in statements.items():
        print(f"    of the statements: {table:22}{sum(times) / uploads * 1000:6.2f} ms a report")


def _one_upload(settings: Settings, sessions: Any, objects: ObjectStore, photo: bytes) -> list[float]:
    body = b"".join(multipart(photo, FIELDS | {"idempotency_key": str(uuid.uuid4())}))
    builder = EnvironBuilder(method="POST", input_stream=io.BytesIO(body), content_length=len(body))
    builder.content_type = f"multipart/form-data; boundary={BOUNDARY.decode()}"
    request, now = Request(builder.get_environ()), datetime.now(UTC)
    marks = [time.perf_counter()]
    spool = spool_uploads(request, Path(settings.spool_dir), UploadLimits(settings.photo_max_bytes, 6))
    fields = request.form.to_dict()
    marks.append(time.perf_counter())
    command = forms.parse_submission(
        fields,
        spool.files,
        left_out=0,
        photos_per_report=6,
        language="zh-Hans",
        to_wgs84=lambda lon, lat, _datum: (lon, lat),
        now=now,
    )
    marks.append(time.perf_counter())
    path = spool.files[0].make_durable()
    marks.append(time.perf_counter())
    objects.adopt_file(command.photos[0].object_key, path)
    marks.append(time.perf_counter())
    with sessions() as session:
        intake.submit(session, command, settings=settings, now=now)
        marks.append(time.perf_counter())
        session.commit()
    marks.append(time.perf_counter())
    request.close()
    return [later - earlier for earlier, later in itertools.pairwise(marks)]


def _time_statements(engine: Any, statements: dict[str, list[float]]) -> None:
    @event.listens_for(engine, "before_cursor_execute")
    def _before(conn: Any, _cursor: Any, _statement: Any, _parameters: Any, _context: Any, _many: Any) -> None:
        conn.info["bench_started"] = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def _after(conn: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: Any) -> None:
        words = statement.split()
        name = f"{words[0].lower()} {words[2]}" if words[0] == "INSERT" else "selects"
        statements.setdefault(name, []).append(time.perf_counter() - conn.info["bench_started"])


def _p95(times: list[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(0.95 * len(times)))]
