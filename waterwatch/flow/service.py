"""The network where every process of a machine finds it: compiled once into files, mapped into memory by all."""

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from waterwatch.flow import queries
from waterwatch.flow.rules import Network, build

PREFIX, MAKING = "network-", ".making-"
GIVEN_UP_S = 3600  # nobody takes so long: its maker died
# What a file holds: another number for another set of arrays, so that a new program never maps an old file.
FORMAT = 5


def open_network(session: Session, folder: Path) -> Network:
    """The network as it stands now, mapped read-only from ``folder`` (private to us, on this machine).

    The first who asks after a change compiles it, some seconds for a million reaches; the rest map its file. Two who
    do so at once write the same, and one of them wins. Files of earlier networks are removed; whoever maps one
    keeps it.
    """
    name = f"{PREFIX}{FORMAT}-{queries.version(session)}"
    there = folder / name
    if not there.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _compile(session, folder, there)
    for other in folder.glob(f"{PREFIX}*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)
    for unfinished in folder.glob(f"{MAKING}*"):
        with contextlib.suppress(FileNotFoundError):  # its maker has finished meanwhile
            if time.time() - unfinished.stat().st_mtime > GIVEN_UP_S:
                shutil.rmtree(unfinished, ignore_errors=True)
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in there.glob("*.npy")}
    return Network(**arrays)


def _compile(session: Session, folder: Path, there: Path) -> None:
    network = build(queries.read_rows(session), queries.read_arms(session))
    made = Path(tempfile.mkdtemp(prefix=MAKING, dir=folder))
    try:
        for name, array in network.arrays().items():
            np.save(made / name, array)
        made.rename(there)
    except OSError:
        if not there.exists():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
