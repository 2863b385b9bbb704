"""Addresses of the built front end: Vite's manifest read once, given to templates as ``asset_url`` and ``asset_css``.

Names under ``/static/assets/`` carry a hash of their content, so they are cached for ever; what has no hash is asked
for again each time.
"""

import json
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, Response, request, send_from_directory
from werkzeug.security import safe_join

from waterwatch.web.guards import public

MANIFEST = Path(".vite") / "manifest.json"
STATIC_PATH = "/static"
SOURCE_FOLDER = "src"
HASHED = re.compile(r"assets/[^/]+-[A-Za-z0-9_-]{8}\.[a-z0-9]+")
FOREVER = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
SERVICE_WORKER = "sw.js"


class AssetsMissingError(RuntimeError):
    """The front end was not built, or has no such entry. The message says which command to run."""


@dataclass(frozen=True)
class Assets:
    """The manifest of one build: entries named as in the sources (``report.ts``, ``site.css``)."""

    entries: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, front_end_dir: Path) -> "Assets":
        """Read a build folder. Raises :class:`AssetsMissingError` when nothing was built there."""
        path = front_end_dir / MANIFEST
        try:
            return cls(json.loads(path.read_text()))
        except FileNotFoundError:
            raise AssetsMissingError(f"the front end is not built: {path} is missing. Run: bin/build") from None
        except ValueError:
            raise AssetsMissingError(f"{path} is not a manifest. Build the front end again: bin/build") from None

    def url(self, name: str) -> str:
        """Address of an entry's file. Raises :class:`AssetsMissingError` for a name that is no entry."""
        return f"{STATIC_PATH}/{self._entry(name)['file']}"

    def css(self, name: str) -> list[str]:
        """Addresses of the style sheets that a script entry needs before it runs, its static imports' included."""
        found: dict[str, None] = {}
        waiting, seen = [self._entry(name)], {name}
        while waiting:
            entry = waiting.pop(0)
            found.update(dict.fromkeys(entry.get("css", ())))
            for imported in entry.get("imports", ()):
                if imported not in seen:
                    seen.add(imported)
                    waiting.append(self.entries[imported])
        return [f"{STATIC_PATH}/{path}" for path in found]

    def later(self, name: str) -> dict[str, list[str]]:
        """Addresses of what an entry loads first once it runs, by ``scripts``, ``styles`` and ``workers``."""
        found: dict[str, dict[str, None]] = {"scripts": {}, "styles": {}, "workers": {}}
        waiting, seen = list(self._entry(name).get("dynamicImports", ()))[:1], {f"{SOURCE_FOLDER}/{name}"}
        while waiting:
            key = waiting.pop(0)
            if key in seen:
                continue
            seen.add(key)
            chunk = self.entries[key]
            found["scripts"][f"{STATIC_PATH}/{chunk['file']}"] = None
            found["styles"].update(dict.fromkeys(f"{STATIC_PATH}/{path}" for path in chunk.get("css", ())))
            found["workers"].update(
                dict.fromkeys(f"{STATIC_PATH}/{path}" for path in chunk.get("assets", ()) if path.endswith(".js"))
            )
            waiting += chunk.get("imports", ())
        return {kind: list(addresses) for kind, addresses in found.items()}

    def _entry(self, name: str) -> dict[str, Any]:
        entry = self.entries.get(f"{SOURCE_FOLDER}/{name}")
        if entry is None or not entry.get("isEntry"):
            known = ", ".join(sorted(key for key, value in self.entries.items() if value.get("isEntry")))
            raise AssetsMissingError(f"the front end has no entry {name!r} (it has: {known}). Run: bin/build")
        return entry


def install_assets(app: Flask, front_end_dir: Path) -> Assets:
    """Serve a build folder under ``/static/`` and give templates ``asset_url``, ``asset_css`` and
    ``asset_later``, each of an entry's name.

    ``app`` is made with ``static_folder=None``. Raises :class:`AssetsMissingError` when the folder holds no build: an
    application without its pages must not start.
    """
    assets = Assets.read(front_end_dir)

    def static(filename: str) -> Response:
        response = _send(front_end_dir, filename)
        response.headers["Cache-Control"] = FOREVER if HASHED.fullmatch(filename) else REVALIDATE
        return response

    def service_worker() -> Response:
        # At the root, because a worker serves the addresses below its own; asked for anew each time, so that a phone
        # never runs yesterday's for longer than a day (Service Workers, 4.5).
        response = _send(front_end_dir, SERVICE_WORKER)
        response.headers["Cache-Control"] = REVALIDATE
        return response

    app.add_url_rule(f"{STATIC_PATH}/<path:filename>", "static", static)
    app.add_url_rule(f"/{SERVICE_WORKER}", "service_worker", public(service_worker))
    app.jinja_env.globals.update(asset_url=assets.url, asset_css=assets.css, asset_later=assets.later)
    return assets


def _send(folder: Path, name: str) -> Response:
    """A file of the build, its gzip twin where there is one and the browser takes it."""
    media_type = mimetypes.guess_type(name)[0]
    twin = safe_join(str(folder), f"{name}.gz")
    if twin is None or not Path(twin).is_file():
        return send_from_directory(folder, name, mimetype=media_type)
    if request.accept_encodings["gzip"]:
        response = send_from_directory(folder, f"{name}.gz", mimetype=media_type)
        response.headers["Content-Encoding"] = "gzip"
    else:
        response = send_from_directory(folder, name, mimetype=media_type)
    response.vary.add("Accept-Encoding")
    return response
