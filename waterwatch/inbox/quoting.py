"""What a person wrote in a mail, without the letter it answers. No I/O.

Programs used in China mark the letter in their own ways (QQ mail, Foxmail, NetEase, Outlook, Apple Mail, Gmail); what
they write is known here, line by line. What is left goes through mail-parser-reply, which knows the other languages.
"""

import logging
import re
from typing import Final

from mailparser_reply import EmailReplyParser

LIMIT: Final = 10_000  # letters that are looked at: the library's expressions are no place for more
MAX_LINE: Final = 400
HEADER_LINES: Final = 8  # within how many lines of 发件人 another header follows

_RULED = re.compile(
    r"^[\s\-_=*—]{2,}\s*(?:回复的?原?邮件|回覆的?郵件|原始邮件|原始郵件|原邮件|原郵件|转发的?邮件|轉寄的?郵件|邮件原件"
    r"|original message|forwarded message|original|reply message)\s*[\s\-_=*—]{2,}$",
    re.IGNORECASE,
)
_FROM = re.compile(r"^[*|\s]{0,6}(?:发件人|發件人|寄件者|寄件人|from)[*|\s]{0,6}[:：|]", re.IGNORECASE)
_HEADER = re.compile(
    r"^[*|\s]{0,6}(?:发送时间|发送日期|发件时间|日期|时间|收件人|抄送|抄送人|主题|傳送時間|寄件日期|日期|收件者|收件人|副本|主旨"
    r"|sent|date|to|cc|subject)[*|\s]{0,6}[:：|]",
    re.IGNORECASE,
)
_WROTE = re.compile(r"(?:写道|寫道|编写|写到|撰寫|wrote)\s*[:：]?\s*$", re.IGNORECASE)
_NAMES_SOMEBODY = re.compile(
    r"\d{1,4}\s*[年/.\-]\s*\d{1,2}|@|<[^<>]{1,200}>|\d{1,2}:\d{2}|^\s*(?:在|于|on|at)\s", re.IGNORECASE
)
_RULE = re.compile(r"^\s*[_\-=*—]{5,}\s*$")
_SIGNED = re.compile(
    r"^\s*(?:发自我的|發自我的|从我的.{1,20}发送|從我的.{1,20}傳送|来自我的|发自.{1,12}(?:iphone|手机|邮箱大师|qq邮箱)"
    r"|sent from my|获取.{0,4}outlook|取得.{0,4}outlook|get outlook for)",
    re.IGNORECASE,
)
_LIBRARY = EmailReplyParser(languages=["zh", "en"])
logging.getLogger("mailparser_reply").setLevel(logging.CRITICAL)  # it quotes what it reads


def cut_quotation(text: str) -> str:
    """The text above the quoted letter; where somebody wrote below it, what is not marked as quoted.

    Empty when nothing but a quotation is there. A line that only looks like a mark within a longer answer may cost its
    end: the whole mail is kept beside.
    """
    lines = [line[:MAX_LINE] for line in text[:LIMIT].replace("\N{NO-BREAK SPACE}", " ").split("\n")]
    above = _without_end(lines[: _where_it_begins(lines)])
    if not above:
        return _unquoted(lines)
    return _by_library(above)


def _where_it_begins(lines: list[str]) -> int:
    for number, line in enumerate(lines):
        if _RULED.match(line):
            return number
        if _FROM.match(line) and any(_HEADER.match(near) for near in lines[number + 1 : number + HEADER_LINES]):
            return number
        if _WROTE.search(line):
            if _NAMES_SOMEBODY.search(line):
                return number - _is_wrapped(lines, number)
            if number and _NAMES_SOMEBODY.search(lines[number - 1]):
                return number - 1
    return len(lines)


def _is_wrapped(lines: list[str], number: int) -> bool:
    """Whether "On <date>, <somebody>" stands on the line before and only the rest on this one."""
    before = lines[number - 1].strip() if number else ""
    return re.match(r"(?:在|于|on|at|\d{4}年)", before, re.IGNORECASE) is not None and not before.endswith(
        ("。", ".", "！")
    )


def _without_end(lines: list[str]) -> str:
    """Without quoted lines, rules and the phone's own words at the end, and without a signature after ``-- ``."""
    for number, line in enumerate(lines):
        if line.rstrip("\r") in ("-- ", "--") or _SIGNED.match(line):
            lines = lines[:number]
            break
    kept = list(lines)
    while kept and (not kept[-1].strip() or kept[-1].lstrip().startswith(">") or _RULE.match(kept[-1])):
        kept.pop()
    if all(line.lstrip().startswith(">") or not line.strip() for line in kept):
        return ""
    return "\n".join(kept).strip()


def _unquoted(lines: list[str]) -> str:
    """What stands below or between quoted lines, where they are marked by ``>``; else nothing can be told apart."""
    if not any(line.lstrip().startswith(">") for line in lines):
        return ""
    own = [line for line in lines if not line.lstrip().startswith(">")]
    own = [
        line
        for line in own
        if not (_WROTE.search(line) or _RULED.match(line) or _FROM.match(line) or _HEADER.match(line))
    ]
    return _without_end(own)


def _by_library(text: str) -> str:
    try:
        shorter = _LIBRARY.parse_reply(text)
    except Exception:
        return text
    return shorter.strip() if shorter and shorter.strip() else text
