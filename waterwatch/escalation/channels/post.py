"""A case as a letter on paper, for agencies of which only a postal address is known."""

from datetime import datetime

from waterwatch.agencies.rules import PostSettings
from waterwatch.escalation import rules
from waterwatch.escalation.channels import Awaiting, Contact, Letter, Outcome, Wire, wording
from waterwatch.kernel.settings import Settings

AWAITS_POSTING = "posting"
PATIENCE_S = 3 * 24 * 3600.0  # a weekend; then the case is a person's to settle otherwise
STYLES = """
header { display: flex; justify-content: space-between; align-items: flex-end; border-bottom: 0.5mm solid #1c4a66;
         padding-bottom: 2mm; margin-bottom: 6mm; }
.from { font-family: "Noto Sans CJK SC", sans-serif; font-weight: 700; font-size: 17pt; color: #1c4a66; margin: 0;
        letter-spacing: 0.06em; }
.number { text-align: right; font-size: 9.5pt; margin: 0; color: #444; }
h1 { text-align: center; font-size: 17pt; margin: 0 6mm 5mm; }
.to { font-weight: 700; text-align: left; margin-bottom: 0; }
.address { margin-bottom: 2mm; }
.text { text-indent: 2em; text-align: left; margin-bottom: 1.5mm; }
table { margin: 3mm 0 4mm; line-height: 1.45; border-top: 0.2mm solid #999; }
th { width: 24mm; font-weight: 500; color: #444; white-space: nowrap; }
.small { font-size: 8.5pt; color: #444; line-height: 1.45; }
.pictures { display: flex; gap: 5mm; break-inside: avoid; margin-bottom: 3mm; }
figure { flex: 1 1 0; max-width: calc(50% - 2.5mm); margin: 0; }
figure img { width: 100%; height: 46mm; object-fit: contain; background: #f2f2f2; border: 0.2mm solid #999; }
.answer { display: flex; gap: 6mm; break-inside: avoid; border: 0.2mm solid #999; padding: 3mm; align-items: center; }
.answer > div { flex: 1 1 0; }
.answer h2 { margin: 0 0 1.5mm; }
.code { width: 30mm; height: 30mm; }
.link { font-size: 8.5pt; overflow-wrap: anywhere; text-align: left; line-height: 1.4; }
footer { display: flex; gap: 6mm; break-inside: avoid; margin-top: 3mm; }
footer > div { flex: 1 1 0; }
footer p { margin-bottom: 1mm; text-align: left; }
.signed { text-align: right; white-space: nowrap; }
"""


class PostChannel:
    """Nothing leaves by itself: the lead prints the letter, posts it, and says so at the desk."""

    name = "post"

    def endpoint(self, contact: Contact, settings: Settings) -> str:  # noqa: ARG002  # the Protocol's
        """No server."""
        return "post"

    def hand_over(self, letter: Letter, wire: Wire) -> Outcome:  # noqa: ARG002  # the Protocol's
        """It is on the lead's list from now on."""
        return Awaiting(AWAITS_POSTING, patience_s=PATIENCE_S)


def print_letter(letter: Letter) -> bytes:
    """The letter as a PDF of one or two pages; the same letter gives the same bytes."""
    # WeasyPrint is large: only who prints loads it.
    from waterwatch.printing.pdf import print_pdf, qr_svg

    files = {"answer.svg": qr_svg(letter.answer_url)}
    given = {"photo.jpg": letter.pictures.photo, "map.png": letter.pictures.map}
    shown = {
        name: content for name, content in given.items() if content and not letter.takes_back and letter.warned is None
    }
    settings = letter.contact.settings
    html = wording.render(
        letter,
        "post.html",
        addressee=settings.addressee if isinstance(settings, PostSettings) else None,
        address=letter.contact.address,
        date=_date(letter.queued_at),
        shown=tuple(shown),
    )
    return print_pdf(html, files | shown, styles=STYLES)


def _date(moment: datetime) -> str:
    local = moment.astimezone(rules.CHINA_TIME)
    return f"{local.year} 年 {local.month} 月 {local.day} 日"
