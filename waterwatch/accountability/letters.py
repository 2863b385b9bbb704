"""The mail that shows a department its figures before anybody else sees them."""

from datetime import datetime, timedelta

from waterwatch.accountability.queries import AgencyRow
from waterwatch.accountability.rules import Period
from waterwatch.accountability.tables import PeriodRelease
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import sign_link
from waterwatch.kernel.writing import environment
from waterwatch.postbox.service import Mail
from waterwatch.workdays.rules import CHINA_TIME

PURPOSE = "accountability-figures"  # of the link's key
LINK_FOR = timedelta(days=120)  # readable for long after; commented on until the figures are published
LANGUAGE = "zh-Hans"


def figures_shown(
    row: AgencyRow, release: PeriodRelease, recipient: str, meant_for: str, *, settings: Settings, now: datetime
) -> Mail:
    """The mail to one department; of a staging installation to ``recipient``, naming whom it was ``meant_for``."""
    token = sign_link(settings, PURPOSE, row.figures_id, expires_at=now + LINK_FOR)
    until = release.state_deadline_at
    assert until is not None, "it is only shown"
    words = {
        "agency": row.names.get(LANGUAGE) or row.agency_code,
        "period": Period.parse(row.period).words,
        "until": f"{until.astimezone(CHINA_TIME):%Y-%m-%d %H:%M}",
        "figures": row.figures,
        "url": f"{settings.public_url}/accountability/figures/{token}",
        "rules_url": f"{settings.public_url}/accountability/rules",
        "staging_for": meant_for if recipient != meant_for else None,
        "language": LANGUAGE,
    }
    render = environment(LANGUAGE, "waterwatch.accountability").get_template
    subject = " ".join(render("accountability/mail/figures_subject.txt").render(words).split())
    return Mail(
        address=recipient,
        subject=subject,
        text=render("accountability/mail/figures.txt").render(words),
        html=render("accountability/mail/figures.html").render(words),
        language=LANGUAGE,
    )
