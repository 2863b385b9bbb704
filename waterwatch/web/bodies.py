"""Request bodies that the proxy in front has received into a file (nginx: ``client_body_in_file_only``).

Every byte of a photo that passes through Python is copied several times under one lock. A proxy writes it down as it
arrives, and names the file in a header instead of sending the body on; here the file is taken over by a rename.

Whoever names a file to us gets it as their photo, so the header is believed only with the secret that the proxy's
configuration and our settings share. The proxy overwrites both headers on the one address that has this way; by any
other, and by whoever reaches us past the proxy, the header says nothing. What it names must be a plain file of the
proxy's own naming, directly in the one folder.
"""

import hmac
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flask import Request
from werkzeug.exceptions import BadRequest

from waterwatch.kernel.ids import new_id
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.web.uploads import SpooledFile

FILE_HEADER: Final = "X-WaterWatch-Body-File"
SECRET_HEADER: Final = "X-WaterWatch-Body-Secret"  # noqa: S105  # a header's name
# How nginx names its temporary files (ngx_create_temp_file): a number of ten digits or more.
FILE_NAME: Final = re.compile(r"[0-9]{10,20}")
log = get_logger(__name__)


def take_over(request: Request, settings: Settings) -> SpooledFile | None:
    """The body as a file of our spool; None where it comes in the request itself, or is empty.

    The caller discards it when the request ends. A file is given once: of two requests that name it, one has it.

    Raises:
        BadRequest: the proxy names what is not there or is no file of its own; the log says what.
    """
    folder = settings.proxy_bodies_dir
    if folder is None or not _is_from_proxy(request, settings):
        return None
    stated = request.headers.get(FILE_HEADER)
    if stated is None:
        return None
    path = Path(stated)
    if path.parent != folder or not FILE_NAME.fullmatch(path.name):
        raise _refused("not_in_folder")
    settings.spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _moved(path, settings.spool_dir / f"{new_id()}.part")


@contextmanager
def replayed(request: Request, body: SpooledFile | None) -> Iterator[None]:
    """Within, the form parser reads the body from its file, if it lies in one. Nothing may have read it before."""
    if body is None or body.path is None:
        yield
        return
    with body.path.open("rb") as content:
        request.environ |= {"wsgi.input": content, "CONTENT_LENGTH": str(body.size_bytes)}
        yield


def _is_from_proxy(request: Request, settings: Settings) -> bool:
    secret = settings.proxy_bodies_secret
    shown = request.headers.get(SECRET_HEADER, "").encode("utf-8", "replace")
    return secret is not None and hmac.compare_digest(shown, secret.get_secret_value().encode())


def _moved(path: Path, target: Path) -> SpooledFile:
    """Open the file without following or waiting for anything, and rename it into the spool."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _refused(type(error).__name__) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise _refused("not_a_plain_file")
        try:
            path.rename(target)
        except FileNotFoundError:  # another request was faster, or the proxy has given this one up
            raise _refused("gone") from None
        return SpooledFile.received(target, descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _refused(reason: str) -> BadRequest:
    log.error("proxy_body.refused", reason=reason)
    return BadRequest()
