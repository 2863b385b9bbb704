"""The live map as a page that needs no application: the same markup as the public page, words in place, for any host.

Rendered by the publisher in each language. It is opened from the published folder by itself, and where the application
does not answer a web server may lead there.
"""

import json
from pathlib import Path
from typing import Any

from waterwatch.kernel.settings import Settings
from waterwatch.kernel.writing import environment
from waterwatch.mapping.publishing_words import LANGUAGES, kind_in
from waterwatch.web.headers import content_policy
from waterwatch.web.language import LANGUAGES as LANGUAGE_NAMES
from waterwatch.web.words import KIND_WORDS

SCRIPTS, STYLES = ("src/page.ts", "src/map.ts"), ("src/site.css",)
PAGES = {"zh-Hans": "index.html", "zh-Hant": "zh-Hant/index.html", "en": "en/index.html"}


def standing_pages(settings: Settings, *, front_end_dir: Path) -> dict[str, bytes]:
    """By name, the live map in each language; none where the front end was not built.

    Everything a page loads is named relative to it; where it leads to the application it says the public address.
    """
    try:
        built = json.loads((front_end_dir / ".vite" / "manifest.json").read_text())
        scripts, styles = [built[name]["file"] for name in SCRIPTS], _styles(built)
    except (FileNotFoundError, KeyError):
        return {}
    site = settings.published_url or f"{settings.public_url}/published"
    rendered = {}
    for language in LANGUAGES:
        template = environment(language, "waterwatch.mapping", "waterwatch.web").get_template("mapping/standing.html")
        words = template.render(
            language=language,
            viewer_language=lambda language=language: language,
            languages=LANGUAGE_NAMES,
            pages=PAGES,
            root="./" if PAGES[language] == "index.html" else "../",
            scripts=scripts,
            styles=styles,
            policy=_policy(settings),
            kinds={kind: kind_in(language, kind) for kind in KIND_WORDS},
            base_tiles=[source.described() for source in settings.base_maps],
            public_url=settings.public_url,
            site=site,
        )
        rendered[PAGES[language]] = words.encode()
    return rendered


def _styles(built: dict[str, Any]) -> list[str]:
    """What the entries' files need of style sheets, those of what they import included."""
    found = dict.fromkeys(built[name]["file"] for name in STYLES)
    waiting, seen = list(SCRIPTS), set(SCRIPTS)
    while waiting:
        entry = built[waiting.pop(0)]
        found.update(dict.fromkeys(entry.get("css", ())))
        new = [name for name in entry.get("imports", ()) if name not in seen]
        waiting += new
        seen.update(new)
    return list(found)


def _policy(settings: Settings) -> str:
    """The public pages' policy, less what a page cannot say of itself."""
    policy = content_policy([source.origin for source in settings.base_maps])
    return "; ".join(part for part in policy.split("; ") if not part.startswith("frame-ancestors"))
