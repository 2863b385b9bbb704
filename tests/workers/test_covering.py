"""A real worker, forked twice over, covers a face, and covers more when a moderator says so."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from bench import privacy_scenes as scenes
from tests.photos.forge import jpeg
from tests.photos.test_service import _public_keys, _receive
from tests.workers.programs import ROOT, environment
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.photos import queries, service
from waterwatch.photos.rules import Rectangle
from workers.relay import Relay
from workers.stopping import Stop


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    """A ring lasts as long as the lease, and nobody here rings again: a worker may take its time to start."""
    return make_settings(database_url=database_url, redis_url=redis_url, outbox_lease_s=120)


def _work_off(context: JobContext) -> None:
    """Ring for what waits, and let a worker process do it."""
    with closing(Relay(context.settings, Stop())) as relay:
        assert relay.ring_once() >= 1
    command = [sys.executable, "-m", "workers", "work", "--queues", "photos", "--burst"]
    subprocess.run(command, env=os.environ | environment(context.settings), cwd=ROOT, check=True, timeout=120)


def _kinds(context: JobContext, photo_id: uuid.UUID) -> list[str]:
    with transaction(context.sessions) as session:
        return [box.kind for box in queries.redactable(session, [photo_id])[photo_id].redactions]


def test_a_worker_covers_what_it_finds_and_what_it_is_told(context: JobContext, tmp_path: Path) -> None:
    made = scenes.with_faces(np.random.default_rng(4), scenes.portraits()[:1], 200, 1)
    photo_id = _receive(context, jpeg(Image.fromarray(made.pixels)), tmp_path)
    _work_off(context)
    assert _kinds(context, photo_id) == ["face"]
    before = _public_keys(context)
    with transaction(context.sessions) as session:
        command = service.ChangeRedactions(photo_id, (Rectangle("drawn", 0.0, 0.0, 0.2, 0.2),))
        service.change_redactions(session, command, actor=Actor.person(new_id(), None), now=context.now())
    _work_off(context)
    assert _kinds(context, photo_id) == ["face", "drawn"]
    assert not before & _public_keys(context)
    with transaction(context.sessions) as session:
        assert session.execute(text("SELECT count(*) FROM photo WHERE redaction_wanted_at IS NOT NULL")).scalar() == 0
