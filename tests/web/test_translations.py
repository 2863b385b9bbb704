"""Both other languages say everything that simplified Chinese says, with the same values in it."""

import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "waterwatch"
LOCALES = ("en", "zh_Hant")
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]")


@pytest.fixture(scope="module")
def spoken() -> set[str]:
    """Every msgid the program uses."""
    with (ROOT / "babel.cfg").open() as mapping:
        methods, options = parse_mapping_cfg(mapping)
    keywords = {**DEFAULT_KEYWORDS, "_l": None}
    found = extract_from_dir(str(PACKAGE), methods, options, keywords=keywords)
    return {msgid if isinstance(msgid, str) else msgid[0] for _file, _line, msgid, _comments, _context in found}


def catalog_of(locale: str) -> Catalog:
    with (PACKAGE / "translations" / locale / "LC_MESSAGES" / "messages.po").open("rb") as source:
        return read_po(source, locale=locale)


def test_the_extraction_finds_views_words_and_templates(spoken: set[str]) -> None:
    assert {"邮箱或密码不正确。请检查后再试。", "黑臭水体", "回到地图"} <= spoken


@pytest.mark.parametrize("locale", LOCALES)
def test_every_word_is_translated(spoken: set[str], locale: str) -> None:
    catalog = catalog_of(locale)
    missing = {msgid for msgid in spoken if not (entry := catalog.get(msgid)) or not entry.string or entry.fuzzy}
    assert missing == set()


@pytest.mark.parametrize("locale", LOCALES)
def test_a_translation_carries_the_same_values(spoken: set[str], locale: str) -> None:
    catalog = catalog_of(locale)
    wrong = {
        msgid
        for msgid in spoken
        if (entry := catalog.get(msgid)) and set(PLACEHOLDER.findall(msgid)) != set(PLACEHOLDER.findall(entry.string))
    }
    assert wrong == set()


def test_traditional_chinese_is_written_in_traditional_characters() -> None:
    """Big5 with Hong Kong's supplement holds the traditional characters and none of the simplified ones."""
    simplified = {
        entry.id: entry.string
        for entry in catalog_of("zh_Hant")
        if entry.id and not _is_encodable("".join(re.findall(r"[\u4e00-\u9fff]", str(entry.string))))
    }
    assert simplified == {}


def _is_encodable(words: str) -> bool:
    try:
        words.encode("big5hkscs")
    except UnicodeEncodeError:
        return False
    return True


def test_english_contains_no_chinese_but_names() -> None:
    # The project's own name is a name in every language.
    chinese = re.compile(r"[\u4e00-\u9fff]")
    left = {
        entry.id: entry.string
        for entry in catalog_of("en")
        if entry.id and chinese.search(str(entry.string).replace("江湖網", "").replace("预警图", ""))
    }
    assert left == {}
