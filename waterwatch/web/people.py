"""Who is at the other end of this request, as the audit names them."""

from flask_login import current_user

from waterwatch.kernel.audit import Actor


def current_actor() -> Actor:
    """The signed-in person acting for their organisation, or an anonymous actor."""
    if not current_user.is_authenticated:
        return Actor.anonymous()
    memberships = current_user.memberships
    return Actor.person(current_user.id, memberships[0].organisation_id if memberships else None)
