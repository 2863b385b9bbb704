"""Each slice has only its kinds of file, and the contracts between the rooms hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLICES = (
    "accounts", "waters", "agencies", "photos", "reports", "incidents", "advisories", "mapping",
    "escalation", "notices", "moderation", "portal", "imports", "flow", "zones", "rosters",
    "uploads", "opendata", "open311", "duplicates", "screening", "contacts", "postbox", "following", "mine", "triage",
    "fairness", "watches", "atlas", "workdays", "casework", "inbox", "evidence", "alerts", "printing",
    "accountability", "bulletins", "directory", "officers",
)  # fmt: skip
GRAMMAR = {"__init__", "rules", "tables", "queries", "service", "forms", "views"}
# Files a slice has beside the grammar, each for a reason of its own.
SPECIAL = {
    ("accountability", "letters"): "writes the mail that shows a department its figures",
    ("accountability", "previews"): "figures shown and not public yet: whose, and who could not be written to",
    ("accountability", "showing"): "what the pages and files of figures show, put together",
    ("accountability", "desk_views"): "the lead's check, beside the pages for everybody",
    ("bulletins", "charts"): "the only importer of pygal",
    ("bulletins", "words"): "the words that are printed",
    ("bulletins", "making"): "the files as they are drawn and written, loaded by those alone who make them",
    ("bulletins", "jobs"): "what is done outside of any request",
    ("bulletins", "letters"): "writes the mail that brings a bulletin",
    ("bulletins", "desk_views"): "the lead's review, beside the pages for everybody",
    ("advisories", "walking"): "the walk down the network; no I/O",
    ("advisories", "forecasts"): "use cases of early warning, beside those of the levels",
    ("advisories", "forecast_queries"): "their questions, and the statements that keep their rows",
    ("advisories", "gauges"): "what gauges tell of the rivers' discharge: its rows, and bringing them in",
    ("advisories", "gauge_queries"): "which reach a gauge stands on, and what gauges told last",
    ("rosters", "operators"): "who runs which intake: its sheet, and bringing it in",
    ("advisories", "arrivals"): "use cases of what came of a warning",
    ("advisories", "arrival_queries"): "their questions, and the rows they keep",
    ("advisories", "goodness"): "how good the windows were; no I/O",
    ("moderation", "downstream"): "what a grade would warn below, put together for the desk",
    ("moderation", "downstream_views"): "early warning at the desk, beside the pages of reports and incidents",
    ("portal", "warning_views"): "early warning explained, and how good it was",
    ("advisories", "segments"): "a forecast's reaches as stretches, and their outlines",
    ("advisories", "telling"): "the words of an early warning, and what it says as an alert",
    ("flow", "travel"): "how fast water carries what is dissolved in it; no I/O",
    ("photos", "pixels"): "decodes pictures; with the next two the only importer of PIL",
    ("photos", "colour"): "from whatever a decoder gives to plain sRGB",
    ("photos", "evidence"): "what a photo's EXIF says of place and time",
    ("photos", "redaction"): "finds faces and plates; the only importer of the detectors",
    ("moderation", "showing"): "what the desk's pages show, put together; the views call it",
    ("moderation", "desk_views"): "the desk beside its reports, as large as the desk of reports",
    ("moderation", "pace"): "one's own pace; no I/O",
    ("moderation", "answer_views"): "what departments said, before the public reads it",
    ("moderation", "photo_views"): "the desk of one photo, as large as the desk of reports",
    ("photos", "confinement"): "the limited process pictures are decoded in",
    ("mapping", "pages"): "folium pages; the only importer of folium",
    ("mapping", "insets"): "texts of pages, kept from the templates that draw them",
    ("mapping", "snapshot"): "PNG maps; the only importer of resvg",
    ("mapping", "history"): "what was, by day and week: the questions about the past and what follows from them",
    ("mapping", "shelf"): "where the published map lies: a folder or a bucket",
    ("mapping", "publishing"): "what the published files hold, as bytes; no I/O",
    ("mapping", "publishing_queries"): "what the publisher asks, as many again as all others",
    ("mapping", "expected"): "the early warnings as they are published: what is asked, and its bytes",
    ("mapping", "publishing_run"): "one run of the publisher: what is written, named and removed, in which order",
    ("mapping", "publishing_pages"): "which places have pages, and which of them are made anew",
    ("mapping", "publishing_site"): "what published pages need beside them",
    ("mapping", "publishing_words"): "the words of published pages in all languages",
    ("mapping", "standing"): "the live map as a page that needs no application",
    ("mapping", "tiles_rules"): "what a tile shows from which size on; no I/O",
    ("mapping", "tiles_tables"): "rows made from the truth for tiles alone",
    ("mapping", "tiles_drawing"): "generalises what changed, by set",
    ("mapping", "tile_queries"): "the SQL tiles are cut by",
    ("mapping", "tiles_access"): "the token of the desk's tiles",
    ("mapping", "tiles_views"): "where the desk's tiles are, beside what is published",
    ("mapping", "tiles_serving"): "the desk's tiles, before Flask",
    ("mapping", "archive"): "the one PMTiles file of the map's geometry",
    ("mapping", "archive_pieces"): "what is done of an archive under way",
    ("waters", "search"): "the questions by name, as many again as all others",
    ("agencies", "competence"): "rules, and the rows made from them: as large as the rest of the slice's service",
    ("agencies", "coverage"): "where nobody would be told",
    ("agencies", "registry"): "the administrator's questions, as many again as those of routing",
    ("agencies", "upkeep"): "the administrator's use cases",
    ("directory", "agency_views"): "the pages of agencies, beside those of rules",
    ("directory", "showing"): "what the administrator's pages show, put together",
    ("directory", "trial"): "the letter that only tries an address",
    ("directory", "words"): "the words of those pages",
    ("escalation", "unheard_queries"): "which cases reached nobody",
    ("escalation", "told"): "what an alert warned of, as it is kept",
    ("escalation", "warnings"): "use cases of those who are only warned",
    ("escalation", "warning_queries"): "their questions, over forecasts, areas and zones",
    ("escalation", "foreseen"): "whom a warning would tell that is not there yet, for whoever grades",
    ("escalation", "routing"): "who is told, in one statement over waters and agencies",
    ("agencies", "search"): "likewise for areas, and the keys that answer them",
    ("imports", "reading"): "reads surveys' files; the only importer of pyogrio",
    ("imports", "attributes"): "columns of a survey's rows; no I/O",
    ("imports", "staging"): "tables a run makes for itself and drops; no declared rows",
    ("imports", "noding"): "the network of sources that draw lines only",
    ("imports", "merging"): "the one transaction that makes staged rows live",
    ("imports", "zoning"): "the one transaction that makes staged zones live",
    ("imports", "areas"): "the one transaction that makes staged jurisdictions live",
    ("reports", "intake"): "the one statement that stores a submission, and what it takes",
    ("accounts", "registration"): "citizens' own accounts, and the mails that go with them",
    ("reports", "corrections"): "a report stated anew: what it takes, and the one use case",
    ("photos", "forgetting"): "what is forgotten of photos, in which order row and files go",
    ("reports", "questions"): "what is asked of a report's author, as large as a use case of reports",
    ("reports", "appeals"): "an author against a refusal",
    ("reports", "amending"): "a moderator corrects a report, and takes the correction back",
    ("incidents", "undoing"): "the inverses of what service does to incidents",
    ("moderation", "decisions"): "what was decided: its rows, its record",
    ("moderation", "reversal"): "one inverse for each act",
    ("moderation", "actions"): "the acts beside judging, as many again as service has",
    ("moderation", "batch"): "many reports decided as one",
    ("moderation", "action_views"): "the views of those acts, beside the desk's own",
    ("moderation", "incident_views"): "the desk of one incident",
    ("moderation", "batch_views"): "the pages of a batch",
    ("moderation", "record_views"): "the lead's record of decisions",
    ("reports", "erasure"): "what is left of a report that ended; withdrawing and time use it alike",
    ("postbox", "writing"): "templates of mails outside of any request",
    ("photos", "tags"): "all that a photo's file says of itself, for evidence",
    ("evidence", "archive"): "the zip, byte for byte",
    ("evidence", "bundling"): "makes a bundle: files, manifest, signature; outside any transaction",
    ("evidence", "keys"): "what bundles are signed with",
    ("evidence", "verification"): "says of a bundle what is whole; trusts nothing in it",
    ("inbox", "reading"): "hostile mail; runs in a confined child",
    ("inbox", "pages"): "the words of an HTML mail; no I/O",
    ("inbox", "quoting"): "what a person wrote above the letter they answer; no I/O",
    ("escalation", "returns"): "what comes back of deliveries: bounces, notes",
    ("watches", "approaching"): "what is told of warnings from upstream, beside what is told of levels",
    ("watches", "letters"): "writes the mails watchers get, and their words",
    ("notices", "letters"): "writes the mails authors get, and their words",
    ("atlas", "incidents"): "incidents as data and feeds tell them",
    ("atlas", "expected"): "what early warnings say of waters, for pages and data",
    ("atlas", "forecasts"): "warnings of what comes down the rivers, as feeds tell them",
    ("atlas", "areas"): "the questions of an area's page",
    ("atlas", "surroundings"): "what lies around a water, and who answers for it",
    ("atlas", "addresses"): "the pages that exist, for search engines",
    ("portal", "linked"): "what the pages are to search engines; no I/O",
    ("portal", "showing"): "what the public pages show, put together",
    ("portal", "place_views"): "the pages of waters and areas, beside those of incidents",
    ("opendata", "exports"): "GeoJSON and CSV as they are written; no I/O",
    ("opendata", "expected"): "early warnings as files; no I/O",
    ("opendata", "feeds"): "Atom as it is written; the only importer of feedgenerator",
    ("opendata", "badges"): "the badge as it is drawn; no I/O",
    ("opendata", "data_views"): "the views of GeoJSON and CSV, beside those that take reports",
    ("opendata", "site_views"): "the views of feeds, badges and the list of pages",
    ("opendata", "document"): "the OpenAPI document of the views",
    ("opendata", "following"): "the views that a report's token opens, beside those for everybody",
    ("opendata", "answers"): "what programs are told, as models; forms is what they send",
    ("opendata", "case_answers"): "the view that the link of an agency's letter opens to its own system",
    ("reports", "coordinates"): "how people write longitude and latitude; no I/O",
    ("incidents", "standing"): "level, clock, place and extent as they follow from grades and reports",
    ("officers", "showing"): "what the pages of a case show, put together for the desk and the link",
    ("officers", "case_queries"): "the questions about one case, as many again as all others",
    ("officers", "figures_views"): "how the agency answered, and its figures before they are public",
    ("officers", "saying"): "how what an agency says comes in, with its photos; desk and link call it",
    ("officers", "case_views"): "the desk of one case, as large as the desk of all",
    ("officers", "link_views"): "the page behind a letter's link",
    ("officers", "people_views"): "colleagues, how letters come, and the page behind an invitation",
    ("officers", "invitations"): "how a colleague comes to the desk; no account before it is taken up",
    ("officers", "letters"): "writes the mail that invites, and its words",
    ("workdays", "known"): "the calendar of the package chinesecalendar; its only importer",
    ("casework", "pressing"): "reminders, superiors, reopening: what follows when nothing, or the wrong thing, happens",
    ("casework", "incoming"): "answers that came as mail or as a remote status",
    ("incidents", "answering"): "what an incident makes of answers",
    ("escalation", "clocks"): "what agencies owe until when",
    ("escalation", "ending"): "cases of an incident that is over, or turns out not to be",
    ("escalation", "public_queries"): "what anybody may know of cases",
    ("escalation", "rerouting"): "which other agency gets a case, and by what way",
    ("escalation", "deliveries"): "the use cases of one letter; service has those of the case",
    ("escalation", "letters"): "which letters a case gets, for whom, when",
    ("escalation", "claims"): "taking hold of deliveries, many in one transaction",
    ("escalation", "delivery_queries"): "what is asked for deliveries, as many again as for cases",
    ("escalation", "breakers"): "what endpoints answered",
    ("escalation", "alarms"): "leads are told of cases that reached nobody",
    ("escalation", "sending"): "the jobs that hand letters over; no transaction is open during that",
    ("escalation", "recording"): "puts on record what became of them, some at a time",
    ("escalation", "staging"): "rehearsals: everything goes to ourselves",
    ("escalation", "links"): "what each link of a letter opens; no I/O",
    ("escalation", "polling"): "asks the cities' Open311 servers what became of our requests",
    ("escalation", "posting"): "letters on paper: which wait, what they say, when they went",
    ("escalation", "polling_queries"): "which of our requests are to be asked about",
    ("escalation", "reading"): "deliveries as letters once more: for who fetches a feed, or prints",
    ("escalation", "again"): "cases that reached nobody are tried again",
    ("escalation", "feeding"): "whose private feed of alerts an address opens",
    ("atlas", "alerts"): "the steps of an incident, as alerts follow each other",
    ("escalation", "photo_views"): "the photo of a case by itself, for servers that publish what they are told",
    ("printing", "pdf"): "HTML to PDF; the only importer of WeasyPrint",
    ("opendata", "cap_views"): "the public and the agencies' feeds of alerts",
    ("moderation", "post_views"): "the lead's letters on paper",
}


@pytest.mark.parametrize("name", SLICES)
def test_a_slice_has_only_its_kinds_of_file(name: str) -> None:
    found = {path.stem for path in (ROOT / "waterwatch" / name).glob("*.py")}
    odd = {stem for stem in found - GRAMMAR if (name, stem) not in SPECIAL}
    assert odd == set()


def test_no_file_is_longer_than_450_lines() -> None:
    paths = [*(ROOT / "waterwatch").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): lines for path in paths if (lines := len(path.read_text().splitlines())) > 450}
    assert long == {}


def test_only_messaging_imports_the_standard_librarys_clients() -> None:
    # import-linter knows only whole packages outside our own: `urllib` and `http` are used for harmless things too.
    client = re.compile(
        r"^\s*(from (urllib|http) import .*\b(request|client)\b|(from|import) (urllib\.request|http\.client))", re.M
    )
    paths = [path for path in (ROOT / "waterwatch").rglob("*.py") if "messaging" not in path.parts]
    assert [str(path.relative_to(ROOT)) for path in paths if client.search(path.read_text())] == []


def test_the_contracts_between_the_rooms_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 0, outcome.stdout
