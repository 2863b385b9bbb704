"""Names as people type them: the keys by which a name in any language is found, by its sound and its initials too."""

import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

# How a key stands to the name it is made from; a lower grade is shown first.
WHOLE, SOUND, INITIALS, PART = 0, 2, 4, 6
MAX_KEY_CHARACTERS = 40
NAMES_KEPT = 65_536  # some 40 MB of keys


def fold(words: str) -> str:
    """Letters and digits alone, without case, width, tone marks or spaces: ``"Cháng Jiāng"`` → ``"changjiang"``."""
    decomposed = unicodedata.normalize("NFKD", words).casefold()
    return "".join(letter for letter in decomposed if letter.isalnum())[:MAX_KEY_CHARACTERS]


def sound_of(name: str) -> list[str]:
    """A Chinese name's syllables without tones, ``ü`` as ``v`` (as it is typed): ``"绿水"`` → ``["lv", "shui"]``."""
    from pypinyin import lazy_pinyin  # its dictionary takes some tens of MB: only where names are made or sought

    return [folded for syllable in lazy_pinyin(name) if (folded := fold(syllable))]


def search_keys(names: Iterable[str]) -> dict[str, int]:
    """Every key that finds a thing of these names, with its grade: whole names, their sound, initials, and parts.

    A part begins where a Chinese character, a syllable or a word does, so that finding a part is finding a prefix.
    """
    keys: dict[str, int] = {}
    for name in names:
        for key, grade in keys_of_name(name):
            if key:
                keys[key] = min(grade, keys.get(key, grade))
    return keys


@lru_cache(maxsize=NAMES_KEPT)
def keys_of_name(name: str) -> tuple[tuple[str, int], ...]:
    """The keys of one name with their grades; many rivers share their names, so they are kept."""
    return tuple(_keys_of(name))


def _keys_of(name: str) -> Iterator[tuple[str, int]]:
    yield fold(name), WHOLE
    words = name.split()
    if is_han(name):
        words = list(name)
        syllables = sound_of(name)
        for variant in (syllables, [syllable.replace("v", "u") for syllable in syllables]):
            yield fold("".join(variant)), SOUND
            yield fold("".join(syllable[0] for syllable in variant)), INITIALS
            yield from ((fold("".join(variant[start:])), PART) for start in range(1, len(variant)))
    yield from ((fold("".join(words[start:])), PART) for start in range(1, len(words)))


def is_han(words: str) -> bool:
    """Whether a Chinese character is among them."""
    return any("\u4e00" <= letter <= "\u9fff" for letter in words)
