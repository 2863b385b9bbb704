"""The site as an application on a phone: what it says of itself, and the way out."""

import re

from flask import Flask

from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson


def test_the_manifest_names_icons_that_are_there_in_the_viewers_language(app: Flask, visitor: Visitor) -> None:
    answer = visitor.get("/manifest.webmanifest", headers={"Accept-Language": "en"})
    assert answer.mimetype == "application/manifest+json"
    manifest = answer.get_json(force=True)
    assert (manifest["name"], manifest["start_url"], manifest["display"]) == (
        "WaterWatch 江湖網",
        "/report",
        "standalone",
    )
    for icon in manifest["icons"]:
        with visitor.get(icon["src"]) as picture:
            width = int.from_bytes(picture.data[16:20], "big")  # a PNG's IHDR
            assert (picture.status_code, f"{width}x{width}") == (200, icon["sizes"])
    assert re.search(r'<link rel="manifest" href="/manifest.webmanifest">', visitor.get("/report").text)


def test_the_service_worker_rules_the_whole_site_and_is_asked_for_anew(visitor: Visitor) -> None:
    with visitor.get("/sw.js") as answer:
        assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
        assert answer.headers["Cache-Control"] == "no-cache"


def test_leaving_leads_away_and_forgets(visitor: Visitor, people: dict[str, DemoPerson]) -> None:
    visitor.sign_in(people["moderator"])
    visitor.post("/language", {"language": "en"}, page="/")
    answer = visitor.get("/leave")
    assert (answer.status_code, answer.headers["Location"]) == (303, "https://www.baidu.com/")
    assert answer.headers["Clear-Site-Data"] == '"cookies", "storage"'
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert visitor.get("/desk/").status_code == 302  # nobody is signed in, in whatever browser
    assert '<html lang="zh' in visitor.get("/report").text


def test_another_site_can_lead_nobody_to_forgetting(visitor: Visitor, people: dict[str, DemoPerson]) -> None:
    visitor.sign_in(people["moderator"])
    answer = visitor.get("/leave", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "https://www.baidu.com/")
    assert "Clear-Site-Data" not in answer.headers
    assert visitor.get("/desk/").status_code == 200
