"""The mail that invites a colleague to the desk of their agency."""

from waterwatch.kernel.settings import Settings
from waterwatch.kernel.writing import environment
from waterwatch.postbox.service import Mail


def invitation(address: str, agency: str, join_url: str, *, language: str, settings: Settings) -> Mail:
    """One link, and what to do with it. Says nothing of who invited: a forwarded mail names nobody."""
    facts = {"agency": agency, "join_url": join_url, "public_url": settings.public_url, "language": language}
    render = environment(language, "waterwatch.officers").get_template
    return Mail(
        address=address,
        subject=" ".join(render("officers/mail/invitation_subject.txt").render(facts).split()),
        text=render("officers/mail/invitation.txt").render(facts),
        html=render("officers/mail/invitation.html").render(facts),
        language=language,
    )
