"""Untrusted fields in, one frozen command or every fault at once out."""

import math
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterwatch.kernel.errors import Invalid
from waterwatch.reports import coordinates, forms
from waterwatch.reports.intake import SubmitReport

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEY = "0e0cbb1c-5a3b-4d5e-9f2d-3f1a7b6c8d90"
GOOD = {
    "idempotency_key": KEY,
    "kind": "sewage_outfall",
    "lon": "114.3055",
    "lat": "30.5928",
    "place_confirmed": "1",
}


@dataclass
class Part:
    """A file as the spool leaves it."""

    size_bytes: int = 4
    is_too_large: bool = False
    path: Path | None = Path("/nowhere")
    sha256: bytes = bytes(32)


def shift_east(lon: float, lat: float, datum: str) -> tuple[float, float]:
    return (lon, lat) if datum == "wgs84" else (lon + 1.0, lat)


def parse(parts: list[Part] | None = None, left_out: int = 0, **changes: str | None) -> SubmitReport:
    fields = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return forms.parse_submission(
        fields,
        [Part()] if parts is None else parts,
        left_out=left_out,
        photos_per_report=6,
        language="zh-Hans",
        to_wgs84=shift_east,
        now=NOW,
    )


def faults(parts: list[Part] | None = None, left_out: int = 0, **changes: str | None) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as caught:
        parse(parts, left_out, **changes)
    return caught.value.errors


def test_the_least_a_citizen_must_say() -> None:
    command = parse()
    assert (command.kind, command.lon, command.lat, command.place_source) == (
        "sewage_outfall",
        114.3055,
        30.5928,
        "pin",
    )
    assert command.idempotency_key == uuid.UUID(KEY)
    assert (command.note, command.extent, command.smell, command.is_ongoing) == (None, None, None, None)
    assert (command.accuracy_m, command.device_lon, command.chosen_water_feature_id) == (None, None, None)


def test_everything_a_citizen_may_say() -> None:
    water = str(uuid.uuid4())
    command = parse(
        place_words="过了铁路桥右手边\u202e第二个涵洞 ",
        note="水很臭",
        extent="under_100_m",
        smell="3",
        ongoing="yes",
        dead_animals="no",
        people_affected="unknown",
        accuracy_m="12.5",
        device_lon="114.3",
        device_lat="30.6",
        water_feature_id=water,
    )
    assert command.place_words == "过了铁路桥右手边第二个涵洞"
    assert (command.note, command.extent, command.smell) == ("水很臭", "under_100_m", 3)
    assert (command.is_ongoing, command.has_dead_animals, command.affects_people) == (True, False, None)
    assert (command.accuracy_m, command.device_lon, command.device_lat) == (12.5, 114.3, 30.6)
    assert command.chosen_water_feature_id == uuid.UUID(water)


def test_all_faults_come_back_at_once() -> None:
    assert faults(
        [],
        idempotency_key=None,
        kind="ufo",
        lon="NaN",
        lat="91",
        datum="mars",
        place_confirmed="",
        place_words="路" * 201,
        note="水" * 501,
        extent="huge",
        smell="4",
        ongoing="maybe",
        water_feature_id="7",
    ) == {
        "idempotency_key": ["idempotency_key_missing"],
        "kind": ["kind_unknown"],
        "datum": ["datum_unknown"],
        "lon": ["lon_not_a_number"],
        "lat": ["lat_out_of_range"],
        "photo": ["photo_missing"],
        "place_words": ["place_words_too_long"],
        "note": ["note_too_long"],
        "extent": ["extent_unknown"],
        "smell": ["smell_unknown"],
        "ongoing": ["ongoing_unknown"],
        "water_feature_id": ["water_feature_id_malformed"],
    }


@pytest.mark.parametrize("kind", [None, "", " "])
def test_the_kind_is_asked_for(kind: str | None) -> None:
    assert faults(kind=kind) == {"kind": ["kind_missing"]}


@pytest.mark.parametrize(
    "key",
    [
        "7",
        "not-a-key",
        KEY.replace("-", ""),
        "{" + KEY + "}",
        "urn:uuid:" + KEY,
        str(uuid.NAMESPACE_DNS),
        str(uuid.UUID(int=0)),
    ],
)
def test_a_key_that_could_be_guessed_is_refused(key: str) -> None:
    assert faults(idempotency_key=key) == {"idempotency_key": ["idempotency_key_malformed"]}


def test_no_place_at_all() -> None:
    assert faults(lon=None, lat=None) == {"place": ["place_missing"]}
    assert faults(lon="", lat=" ", place_confirmed=None) == {"place": ["place_missing"]}


def test_half_a_place() -> None:
    assert faults(lat="") == {"lat": ["lat_missing"]}


def test_a_place_nobody_confirmed() -> None:
    assert faults(place_confirmed=None) == {"place_confirmed": ["place_not_confirmed"]}
    assert faults(place_confirmed="no") == {"place_confirmed": ["place_not_confirmed"]}


def test_longitude_and_latitude_the_wrong_way_round_are_recognised() -> None:
    assert faults(lon="30.5928", lat="114.3055") == {"lat": ["lat_out_of_range"], "place": ["place_swapped"]}


@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "inf",
        "-inf",
        "1e2",
        "1_1",
        "0x10",
        "abc",
        "30,5",
        "--3",
        "+",
        ".",
        "30°60'",
        "30.5°10'",
        "N30N",
        "3 0 0 0",
        "٣٠x",
        "9" * 61,
    ],
)
def test_what_is_no_latitude(text: str) -> None:
    assert faults(lat=text)["lat"][0] in ("lat_not_a_number", "lat_out_of_range")


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("30.5928", 30.5928),
        ("-30.5", -30.5),
        ("+30.5", 30.5),
        ("３０．５９２８", 30.5928),
        ("30°35'34\"N", 30 + 35 / 60 + 34 / 3600),
        ("30°35′34.08″", 30 + 35 / 60 + 34.08 / 3600),
        ("北纬30度35分34.08秒", 30 + 35 / 60 + 34.08 / 3600),
        ("30°35.568'", 30 + 35.568 / 60),
        ("30 35 34 S", -(30 + 35 / 60 + 34 / 3600)),
        ("南緯 30.5°", -30.5),
        ("30.5928 n", 30.5928),
        ("30º35’34”", 30 + 35 / 60 + 34 / 3600),
        ("30:35:34", 30 + 35 / 60 + 34 / 3600),
    ],
)
def test_latitudes_as_people_write_them(text: str, degrees: float) -> None:
    assert parse(lat=text).lat == pytest.approx(degrees, abs=1e-12)


def test_east_is_no_latitude() -> None:
    assert faults(lat="30°35'E") == {"lat": ["lat_wrong_axis"]}
    assert faults(lon="114°18'N") == {"lon": ["lon_wrong_axis"]}


def test_degrees_minutes_and_seconds_mean_the_place_was_typed() -> None:
    assert parse(lon="114°18′20″E", lat="30°35′34″N").place_source == "typed"
    assert parse(place_source="typed").place_source == "typed"


def test_the_place_is_converted_from_its_datum_and_the_datum_remembered() -> None:
    command = parse(datum="gcj02")
    assert (command.lon, command.input_datum) == (115.3055, "gcj02")


def test_a_device_fix_is_wgs84_whatever_the_map_shows() -> None:
    command = parse(lon="", lat="", datum="gcj02", device_lon="114.3", device_lat="30.5", accuracy_m="30")
    assert (command.lon, command.lat, command.place_source, command.input_datum) == (114.3, 30.5, "device", "wgs84")


def test_a_poor_device_fix_is_not_a_place() -> None:
    changes = {"lon": "", "lat": "", "device_lon": "114.3", "device_lat": "30.5", "accuracy_m": "101"}
    assert faults(**changes) == {"place": ["place_missing"]}


@pytest.mark.parametrize("text", ["nan", "", "far", "-1", "1e9", "inf"])
def test_evidence_the_person_cannot_correct_is_left_out_rather_than_complained_of(text: str) -> None:
    assert parse(device_lon=text, device_lat="30.5", accuracy_m="5").device_lon is None or text == "-1"
    assert parse(device_lon="114.3", device_lat="30.5", accuracy_m=text).accuracy_m is None


@pytest.mark.parametrize(
    ("parts", "left_out", "codes"),
    [
        ([], 0, ["photo_missing"]),
        ([Part()] * 6, 1, ["photo_too_many"]),
        ([Part()] * 7, 0, ["photo_too_many"]),
        ([Part(), Part(is_too_large=True)], 0, ["photo_too_large"]),
        ([Part(size_bytes=0)], 0, ["photo_empty"]),
        ([Part(size_bytes=0), Part(is_too_large=True)], 5, ["photo_too_many", "photo_too_large", "photo_empty"]),
    ],
)
def test_photos_that_cannot_be_taken(parts: list[Part], left_out: int, codes: list[str]) -> None:
    assert faults(parts, left_out) == {"photo": codes}


def test_each_photo_gets_an_id_and_a_key_of_ours() -> None:
    photos = parse([Part(), Part()]).photos
    assert [photo.object_key for photo in photos] == [f"quarantine/2026/11/{photo.photo_id}" for photo in photos]
    assert len({photo.photo_id for photo in photos}) == 2


def test_exactly_500_characters_are_a_note() -> None:
    assert parse(note="水" * 500).note == "水" * 500
    assert parse(note=" " + "水" * 500 + "\n").note == "水" * 500


def test_exactly_200_characters_say_how_one_gets_there_and_are_no_place() -> None:
    assert parse(place_words="路" * 200).place_words == "路" * 200
    assert parse(place_words=" \n ").place_words is None
    assert faults(place_words="三号桥下", lon=None, lat=None) == {"place": ["place_missing"]}


def test_an_empty_note_is_no_note() -> None:
    assert parse(note=" \n\t ").note is None


def test_characters_that_hide_or_reorder_text_are_stripped() -> None:
    assert parse(note="a\u202eb\u2066c\u200b\ufeff\x00\x1b[31md\r\ne").note == "abc[31md\ne"


def test_many_empty_lines_become_one_and_emoji_stay_whole() -> None:
    assert parse(note="甲\n\n\n\n乙 👩\u200d🔬").note == "甲\n\n乙 👩\u200d🔬"


@given(st.text(max_size=600))
def test_a_cleaned_text_is_storable_visible_and_clean_again(text: str) -> None:
    cleaned = forms.clean_text(text)
    assert forms.clean_text(cleaned) == cleaned
    assert cleaned.encode().decode() == cleaned
    assert not [c for c in cleaned if c != "\n" and unicodedata.category(c) in ("Cc", "Cs")]
    assert not set(cleaned) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x00")


@given(st.floats(min_value=-90, max_value=90))
def test_any_decimal_latitude_is_read_back_exactly(degrees: float) -> None:
    text = f"{degrees:.12f}"
    assert coordinates.parse_coordinate(text, "lat") == (float(text), False)


@given(
    st.integers(0, 179),
    st.integers(0, 59),
    st.integers(0, 59),
    st.sampled_from(["{}°{}'{}\"{}", "{} {} {} {}", "{}度{}分{}秒{}"]),
    st.sampled_from("EW"),
)
def test_any_degrees_minutes_seconds_are_read_back(d: int, m: int, s: int, form: str, letter: str) -> None:
    degrees, is_dms = coordinates.parse_coordinate(form.format(d, m, s, letter), "lon")
    assert is_dms
    assert degrees == pytest.approx((1 if letter == "E" else -1) * (d + m / 60 + s / 3600), abs=1e-9)


def attempt(fields: dict[str, str], parts: list[Part]) -> SubmitReport | Invalid:
    try:
        return forms.parse_submission(
            fields, parts, left_out=0, photos_per_report=6, language="en", to_wgs84=shift_east, now=NOW
        )
    except Invalid as error:
        return error


FIELD = st.one_of(
    st.text(max_size=80), st.sampled_from(["", "1", "yes", "114.3", "30.5", "nan", "other", "wgs84", KEY])
)
NAMES = [
    *GOOD, "datum", "accuracy_m", "device_lon", "device_lat", "water_feature_id", "note", "extent", "ongoing", "smell",
    "place_words",
    "dead_animals", "people_affected", "place_source",
]  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(NAMES), FIELD), st.lists(st.builds(Part, size_bytes=st.integers(0, 9)), max_size=8)
)
def test_whatever_is_sent_gives_a_sound_command_or_codes(fields: dict[str, str], parts: list[Part]) -> None:
    outcome = attempt(fields, parts)
    if isinstance(outcome, Invalid):
        assert outcome.errors
        assert all(code.replace("_", "").isalnum() for codes in outcome.errors.values() for code in codes)
    else:
        assert math.isfinite(outcome.lon)
        assert math.isfinite(outcome.lat)
        assert 1 <= len(outcome.photos) <= 6


@given(st.text(max_size=70))
def test_no_text_breaks_the_reading_of_a_coordinate(text: str) -> None:
    try:
        degrees, _is_dms = coordinates.parse_coordinate(text, "lon")
    except coordinates.CoordinateError:
        return
    assert abs(degrees) <= 180
