"""What is sealed opens for us and for nobody else, and only where it belongs."""

import uuid
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from tests.conftest import SECRET
from waterwatch.kernel.sealing import SealBroken, open_value, seal_value
from waterwatch.kernel.settings import Settings

ROW = uuid.UUID("01900000-0000-7000-8000-0000000000aa")
WORDS = b"wang@example.org"


def test_what_is_sealed_opens_again_and_never_looks_alike(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    first, second = (seal_value(settings, "contact", ROW, WORDS) for _ in range(2))
    assert first != second
    assert WORDS not in first
    assert [open_value(settings, "contact", ROW, one) for one in (first, second)] == [WORDS, WORDS]


def test_it_opens_in_no_other_row_and_for_no_other_purpose(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    sealed = seal_value(settings, "contact", ROW, WORDS)
    for purpose, row in (("contact", uuid.uuid4()), ("posting", ROW)):
        with pytest.raises(SealBroken):
            open_value(settings, purpose, row, sealed)


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_what_was_changed_does_not_open(make_settings: Callable[..., Settings], damage: bytes | None) -> None:
    settings = make_settings()
    sealed = seal_value(settings, "contact", ROW, WORDS)
    with pytest.raises(SealBroken):
        open_value(settings, "contact", ROW, sealed[:-1] + bytes([sealed[-1] ^ 1]) if damage is None else damage)


def test_a_secret_that_is_being_rotated_out_still_opens(make_settings: Callable[..., Settings]) -> None:
    sealed = seal_value(make_settings(), "contact", ROW, WORDS)
    new = SecretStr("another secret that only the tests know, 0123456789")
    assert open_value(make_settings(secret_key=new, secret_key_previous=SECRET), "contact", ROW, sealed) == WORDS
    with pytest.raises(SealBroken):
        open_value(make_settings(secret_key=new), "contact", ROW, sealed)
