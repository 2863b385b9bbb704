"""What published pages need beside them: the front end's files as they were built, and Leaflet."""

from pathlib import Path

from waterwatch.mapping.publishing_run import Run
from waterwatch.mapping.rules import digest_of

VENDOR = ("vendor/leaflet.js", "vendor/leaflet.css")


def write(run: Run) -> None:
    """Put what is not there yet, or is another since the front end was built."""
    folder = run.context.settings.front_end_dir
    files = {}
    for name in VENDOR:
        content = _read(folder, name)
        if content is None:
            continue
        digest = digest_of(content)
        if run.known.get(name, ("", ""))[1] != digest:
            run.shelf.put(name, content)
        files[name] = (name, digest)
    run.keep(files)


def _read(folder: Path, name: str) -> bytes | None:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        return None
