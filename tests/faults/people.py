"""Citizens who send until they are answered, and a moderator who grades whatever waits."""

import io
import random
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import requests
from PIL import Image
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tests.faults.system import System
from waterwatch.incidents.rules import RubricInputs, score
from waterwatch.incidents.service import Judgement
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict
from waterwatch.moderation.service import GradeReport, grade_report
from waterwatch.uploads.rules import read_token

PATIENCE_S = 150.0
TUS = {"Tus-Resumable": "1.0.0"}
KINDS = ("sewage_outfall", "fish_kill", "black_odorous", "oil_slick", "floating_garbage")


def photo(number: int) -> bytes:
    """A small real JPEG, different for every number."""
    random_colours = random.Random(number)
    image = Image.effect_noise((160, 120), 40 + number % 50).convert("RGB")
    image.paste(tuple(random_colours.randrange(256) for _ in range(3)), (0, 0, 80, 60))
    drawn = io.BytesIO()
    image.save(drawn, "JPEG", quality=85)
    return drawn.getvalue()


@dataclass
class Citizen:
    """Sends one report under one key until an answer comes."""

    system: System
    number: int
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    tries: int = 0

    def send(self) -> tuple[str, str]:
        """Gives (code, follow address)."""
        picture, deadline = photo(self.number), time.monotonic() + PATIENCE_S
        with requests.Session() as browser:
            while time.monotonic() < deadline:
                self.tries += 1
                try:
                    answer = self._try(browser, picture)
                except requests.RequestException:
                    answer = None
                if answer is not None and answer.status_code == 201:
                    return answer.json()["code"], answer.json()["follow_url"]
                threading.Event().wait(0.25)
        raise AssertionError(f"report {self.number} was not taken in {self.tries} tries")

    def _try(self, browser: requests.Session, picture: bytes) -> requests.Response | None:
        page = browser.get(f"{self.system.address}/report", timeout=10)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
        if token is None:
            return None
        fields = {
            "csrf_token": token[1],
            "idempotency_key": self.key,
            "note": self.key,
            "kind": KINDS[self.number % len(KINDS)],
            "lon": f"{114.3055 + (self.number % 100) / 10_000:.6f}",
            "lat": "30.592800",
            "place_confirmed": "1",
        }
        return browser.post(
            f"{self.system.address}/report",
            data=fields,
            files={"photo": ("IMG.jpg", picture, "image/jpeg")},
            headers={"Accept": "application/json"},
            timeout=15,
        )


@dataclass
class PhoneCitizen(Citizen):
    """Sends the photo first, goes on where the line broke, and then the report that names it.

    A ``patient`` one names it only when it is settled: the report is then moved on by a job of its own.
    """

    is_patient: bool = False
    upload: str = ""

    def _try(self, browser: requests.Session, picture: bytes) -> requests.Response | None:
        if not self.upload:
            headers = TUS | {"Upload-Length": str(len(picture))}
            begun = browser.post(f"{self.system.address}/api/v1/uploads", headers=headers, timeout=10)
            if begun.status_code != 201:
                return None
            self.upload = begun.headers["Location"].rpartition("/")[2]
        address = f"{self.system.address}/api/v1/uploads/{self.upload}"
        looked = browser.head(address, headers=TUS, timeout=10)
        if looked.status_code != 200:
            return None
        offset = int(looked.headers["Upload-Offset"])
        if offset < len(picture):
            end = max(offset + 1, len(picture) // 2 if offset == 0 else len(picture))
            headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            browser.patch(address, data=picture[offset:end], headers=headers, timeout=15)
            return None
        if self.is_patient and not self._is_settled():
            return None
        told = {
            "idempotency_key": self.key,
            "note": self.key,
            "kind": KINDS[self.number % len(KINDS)],
            "lon": round(114.3055 + (self.number % 100) / 10_000, 6),
            "lat": 30.5928,
            "place_confirmed": True,
            "photos": [{"id": self.upload}],
        }
        return browser.post(f"{self.system.address}/api/v1/reports", json=told, timeout=15)

    def _is_settled(self) -> bool:
        photo_id = read_token(self.upload, self.system.settings).photo_id
        query = "SELECT count(*) FROM photo WHERE id = :id AND state IN ('ready', 'refused')"
        try:
            return self.system.count(query, id=photo_id) == 1
        except SQLAlchemyError:
            return False


def send_many(
    system: System, numbers: range, *, threads: int, pause_s: Callable[[], float], patient_every: int | None = None
) -> list[Citizen]:
    """All these reports, by several people at a time; gives them when every one was answered.

    Every fourth sends from the app, every ``patient_every`` th patiently (which slows the sending), the others a form.
    """

    def make(number: int) -> Citizen:
        if patient_every is not None and number % patient_every == 2:
            return PhoneCitizen(system, number, is_patient=True)
        return PhoneCitizen(system, number) if number % 4 == 3 else Citizen(system, number)

    waiting, lock = list(numbers), threading.Lock()
    citizens: list[Citizen] = []
    faults: list[BaseException] = []

    def live() -> None:
        while True:
            with lock:
                if not waiting or faults:
                    return
                citizen = make(waiting.pop(0))
            try:
                citizen.send()
            except BaseException as fault:
                faults.append(fault)
            with lock:
                citizens.append(citizen)
            threading.Event().wait(pause_s())

    crowd = [threading.Thread(target=live) for _ in range(threads)]
    for person in crowd:
        person.start()
    for person in crowd:
        person.join()
    if faults:
        raise faults[0]
    return citizens


def grade_all(system: System, *, pause_s: Callable[[], float]) -> None:
    """Grade every report in review as the rubric proposes, each in one transaction, again when that was lost."""
    actor = Actor.person(system.moderator_id, system.organisation_id)
    waiting_query = text("SELECT id, kind FROM report WHERE state = 'in_review' ORDER BY received_at")
    while True:
        try:
            with transaction(system.sessions) as session:
                waiting = session.execute(waiting_query).all()
            if not waiting:
                return
            for row in waiting:
                inputs = RubricInputs(kind=row.kind)
                command = GradeReport(row.id, Judgement(inputs, score(inputs).proposed), None)
                with transaction(system.sessions) as session:
                    grade_report(session, command, settings=system.settings, actor=actor, now=utc_now())
                threading.Event().wait(pause_s())
        except (SQLAlchemyError, Conflict):  # the database went away; perhaps after it had committed
            threading.Event().wait(0.3)
