"""Writes a water's Chinese name in traditional characters and in pinyin. Used when the built-in file is derived."""

import opencc
import pypinyin

# Readings of place names that a general dictionary gets wrong.
PINYIN = {
    "长江": "Cháng Jiāng",
    "长荡湖": "Chángdàng Hú",
    "穆棱河": "Mùlíng Hé",
    "查干湖": "Chágān Hú",
    "斋桑泊": "Zhāisāng Pō",
    "大渡河": "Dàdù Hé",
    "色林错": "Sèlín Cuò",
    "兴凯湖": "Xīngkǎi Hú",
    "都柳江": "Dūliǔ Jiāng",
    "桑干河": "Sānggān Hé",
    "托什干河": "Tuōshígān Hé",
    "石勒喀河": "Shílèkā Hé",
    "勒拿河": "Lèná Hé",
    "阿其克库勒湖": "Āqíkèkùlè Hú",
    "子曲": "Zǐ Qū",
    "泊湖": "Bó Hú",
    "月亮泡": "Yuèliàng Pāo",
    "波仓藏布": "Bōcāng Zàngbù",
    "扎加藏布": "Zhājiā Zàngbù",
    "噶尔藏布": "Gá'ěr Zàngbù",
    "措勤藏布": "Cuòqín Zàngbù",
    "淮河入江水道": "Huáihé Rùjiāng Shuǐdào",
    "乌梁素海": "Wūliángsù Hǎi",
    "扎布耶茶卡": "Zhābùyé Chákǎ",
    "杰赫勒姆河": "Jiéhèlèmǔ Hé",
    "尕斯库勒湖": "Gǎsīkùlè Hú",
    "勒斜武担湖": "Lèxiéwǔdān Hú",
    "第二松花江": "Dì'èr Sōnghuā Jiāng",
}
# Characters that are transliterations or names of their own, which the converter takes for common words.
TRADITIONAL = {
    "托什干河": "托什干河",
    "大凌河": "大凌河",
    "穆棱河": "穆棱河",
    "达里诺尔": "達里諾爾",
    "洞里萨河": "洞里薩河",
    "洞里萨湖": "洞里薩湖",
    "高韦里河": "高韋里河",
    "乌梁素海子": "烏梁素海子",
}
_VOWELS = "aāáǎàeēéěèoōóǒò"
_GENERICS = ("水库", *"江河湖曲川错泊")


def traditional(text: str) -> str:
    """The name in traditional characters."""
    return TRADITIONAL.get(text) or str(opencc.OpenCC("s2t").convert(text))


def pinyin(name: str) -> str:
    """The name in pinyin: the proper part as one word, the generic part (river, lake, reservoir) as another."""
    if name in PINYIN:
        return PINYIN[name]
    base = name.partition("（")[0]
    syllables = [group[0] for group in pypinyin.pinyin(base)]
    generic = next((ending for ending in _GENERICS if base.endswith(ending) and base != ending), "")
    cut = len(syllables) - len(generic)
    return " ".join(_word(part) for part in (syllables[:cut], syllables[cut:]) if part)


def _word(syllables: list[str]) -> str:
    """Syllables joined as pinyin is written: an apostrophe before an inner syllable that begins with a vowel."""
    joined = syllables[0] + "".join(f"'{s}" if s[0] in _VOWELS else s for s in syllables[1:])
    return joined.capitalize()
