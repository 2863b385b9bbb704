"""Pictures that may be hard to look at: blurred at the desk until somebody asks for them."""

from flask import request

PICTURES_COOKIE = "desk_pictures"  # what somebody has said on this device
PICTURES = ("sensitive", "always", "never")


def is_sensitive(kind: str, has_dead_animals: bool | None) -> bool:
    """Whether the pictures of a report may show dead animals."""
    return kind == "fish_kill" or bool(has_dead_animals)


def conceals(kind: str, has_dead_animals: bool | None) -> bool:
    """Whether a report's pictures are blurred for this viewer until they ask."""
    choice = request.cookies.get(PICTURES_COOKIE)
    return choice == "always" or (choice != "never" and is_sensitive(kind, has_dead_animals))
