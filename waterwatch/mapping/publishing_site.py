"""What published pages need beside them: the front end's files as they were built, Leaflet, and the standing map."""

from pathlib import Path

from waterwatch.mapping.publishing_run import Run
from waterwatch.mapping.rules import digest_of
from waterwatch.mapping.standing import standing_pages

FIXED = ("vendor/leaflet.js", "vendor/leaflet.css", "icon.svg")
ASSETS = "assets"
SITE = "site/"


def write(run: Run) -> None:
    """Put what is not there yet, or is another since the front end was built; the pages after what they load."""
    folder = run.context.settings.front_end_dir
    names = [name for name in FIXED if (folder / name).is_file()]
    names += sorted(f"{ASSETS}/{path.name}" for path in (folder / ASSETS).glob("*") if path.suffix != ".gz")
    files = {f"{SITE}{name}": (name, _put(run, name, folder / name)) for name in names}
    for name, content in standing_pages(run.context.settings, front_end_dir=folder).items():
        digest = digest_of(content)
        if run.known.get(f"{SITE}{name}", ("", ""))[1] != digest:
            run.shelf.put(name, content)
        files[f"{SITE}{name}"] = (name, digest)
    run.keep(files, gone=[key for key in run.known if key.startswith(SITE) and key not in files])


def _put(run: Run, name: str, path: Path) -> str:
    content = path.read_bytes()
    digest = digest_of(content)
    if run.known.get(f"{SITE}{name}", ("", ""))[1] != digest:
        run.shelf.put(name, content)
    return digest
