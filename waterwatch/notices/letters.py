"""The mails an author gets: neutral on the outside, one sentence inside, and a way to stop them in each."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask_babel import lazy_gettext as _l

from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import sign_link
from waterwatch.kernel.writing import environment, in_language
from waterwatch.postbox.service import Mail

CONFIRM, STOP = "notices-confirm", "notices-stop"  # purposes of the links' keys
CONFIRM_FOR = timedelta(days=7)
STOP_FOR = timedelta(days=2 * 365)  # longer than any mail of ours is looked at

REFUSAL_SENTENCES = {
    "not_water": _l("照片里看不到河湖。如果拍到了水面，欢迎换一张照片再报一次。"),
    "unclear": _l("照片看不清问题出在哪里。请走近一些、光线好的时候再拍一张。"),
    "private_matter": _l("这看起来是私人之间的事，我们无法处理。"),
    "indoors": _l("这看起来在室内。本网站只处理河流和湖泊的问题。"),
    "advertisement": _l("内容像是广告，所以没有受理。"),
    "abuse": _l("内容不适合公开处理，所以没有受理。"),
    "duplicate": _l("你发送的与已有的上报相同，问题已经在处理。谢谢你的留意。"),
    "photo_unusable": _l("照片无法读取：文件可能损坏，或者不是照片。请重新拍一张再报一次。"),
}
# Of each step one sentence, which tells neither place nor kind: a mail may be read over somebody's shoulder.
STEP_SENTENCES = {
    "graded": _l("审核员核实了你的上报，并评了等级。"),
    "patrol_confirmed": _l("审核员核实了你的巡护。谢谢你。"),
    "handed_over": _l("已转交主管部门。"),
    "acknowledged": _l("主管部门已确认收到。"),
    "answered": _l("主管部门有了答复，请打开进展页面查看。"),
    "claimed_done": _l("主管部门说已经处理完。真的好了吗？请再去看看，拍一张照片：打开进展页面就能回答。"),
    "refused": _l("这次没有受理。大约一半的上报不会被受理，这很平常。"),
    "returned": _l("审核员会重新看一遍你的上报。"),
    "asked": _l("审核员有一个问题想问你，请打开进展页面回答。"),
}
# The whole of what a locked screen may show.
PUSH_SENTENCE = _l("你关注的一条上报有新进展")


@dataclass(frozen=True)
class Recipient:
    """Whom a letter is for: the contact it goes to, its address, and the language of the report."""

    contact_id: UUID
    address: str
    language: str
    since: datetime


def confirmation(recipient: Recipient, *, settings: Settings) -> Mail:
    """The first mail, which whoever owns the address may not have asked for: it tells nothing and asks."""
    confirm_url = _link(settings, "confirm", CONFIRM, recipient, CONFIRM_FOR)
    return _write("confirm", recipient, {"confirm_url": confirm_url}, settings)


def step(recipient: Recipient, what: str, *, follow_url: str | None, refusal: str | None, settings: Settings) -> Mail:
    """A step was taken: ``what`` names the sentence, ``refusal`` the reason where it was refused."""
    words = {
        "sentence": in_language(recipient.language, STEP_SENTENCES[what]),
        "reason": in_language(recipient.language, REFUSAL_SENTENCES[refusal]) if refusal in REFUSAL_SENTENCES else None,
        "follow_url": follow_url,
    }
    return _write("step", recipient, words, settings)


def push_sentence(language: str) -> str:
    """What the lock screen shows."""
    return in_language(language, PUSH_SENTENCE)


def stop_link(settings: Settings, contact_id: UUID, since: datetime) -> str:
    """The token that stops the mails to a contact; the same each time."""
    return sign_link(settings, STOP, contact_id, expires_at=since + STOP_FOR)


def _link(settings: Settings, path: str, purpose: str, recipient: Recipient, lasts: timedelta) -> str:
    token = sign_link(settings, purpose, recipient.contact_id, expires_at=recipient.since + lasts)
    return f"{settings.public_url}/n/{path}/{token}"


def _write(name: str, recipient: Recipient, words: dict[str, Any], settings: Settings) -> Mail:
    stop = stop_link(settings, recipient.contact_id, recipient.since)
    facts = words | {"stop_url": f"{settings.public_url}/n/stop/{stop}", "language": recipient.language}
    render = environment(recipient.language, "waterwatch.notices").get_template
    return Mail(
        address=recipient.address,
        subject=render(f"notices/mail/{name}_subject.txt").render(facts),
        text=render(f"notices/mail/{name}.txt").render(facts),
        html=render(f"notices/mail/{name}.html").render(facts),
        language=recipient.language,
        unsubscribe_url=f"{settings.public_url}/api/v1/unsubscribe/{stop}",
    )
