"""Links that prove what they may do."""

import base64
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from waterwatch.kernel.errors import Gone, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import delivery_token, derive_token, open_delivery_token, open_link, sign_link

NOW = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
CASE = uuid.UUID("01900000-0000-7000-8000-00000000cafe")
MakeSettings = Callable[..., Settings]
OLD, NEW = "the secret of last year, 0123456789abcdef", "the secret of this year, 0123456789abcdef"


@pytest.fixture
def ours(make_settings: MakeSettings) -> Settings:
    return make_settings(secret_key=NEW)


def test_a_link_opens_what_it_was_signed_for(ours: Settings) -> None:
    assert open_link(ours, "case", sign_link(ours, "case", CASE, expires_at=LATER), now=NOW) == CASE


def test_signing_again_gives_the_same_link(ours: Settings) -> None:
    assert sign_link(ours, "case", CASE, expires_at=LATER) == sign_link(ours, "case", CASE, expires_at=LATER)


def test_a_link_ends_at_its_expiry(ours: Settings) -> None:
    link = sign_link(ours, "case", CASE, expires_at=LATER)
    assert open_link(ours, "case", link, now=LATER - timedelta(seconds=1)) == CASE
    with pytest.raises(Gone):
        open_link(ours, "case", link, now=LATER)


def test_a_link_for_one_purpose_serves_no_other(ours: Settings) -> None:
    with pytest.raises(NotFound):
        open_link(ours, "case", sign_link(ours, "follow", CASE, expires_at=LATER), now=NOW)


def test_every_changed_bit_is_noticed(ours: Settings) -> None:
    link = sign_link(ours, "case", CASE, expires_at=LATER)
    raw = bytearray(base64.urlsafe_b64decode(link + "=" * (-len(link) % 4)))
    for position in range(len(raw) * 8):
        forged = bytearray(raw)
        forged[position // 8] ^= 1 << position % 8
        with pytest.raises(NotFound):
            open_link(ours, "case", base64.urlsafe_b64encode(forged).rstrip(b"=").decode(), now=NOW)


@pytest.mark.parametrize("link", ["", "a", "====", "水", "A" * 59, "A" * 500])
def test_nonsense_is_not_found(ours: Settings, link: str) -> None:
    with pytest.raises(NotFound):
        open_link(ours, "case", link, now=NOW)


def test_a_secret_being_rotated_out_still_opens_and_a_forgotten_one_does_not(make_settings: MakeSettings) -> None:
    link = sign_link(make_settings(secret_key=OLD), "case", CASE, expires_at=LATER)
    assert open_link(make_settings(secret_key=NEW, secret_key_previous=OLD), "case", link, now=NOW) == CASE
    with pytest.raises(NotFound):
        open_link(make_settings(secret_key=NEW), "case", link, now=NOW)


def test_a_derived_token_is_the_same_every_time_and_another_for_everything_else(
    ours: Settings, make_settings: MakeSettings
) -> None:
    token = derive_token(ours, "follow", CASE)
    assert token == derive_token(ours, "follow", CASE)
    others = {
        derive_token(ours, "other", CASE),
        derive_token(ours, "follow", uuid.uuid4()),
        derive_token(make_settings(secret_key=OLD), "follow", CASE),
    }
    assert token not in others
    assert len(others) == 3


def test_a_deliverys_token_fits_a_mail_address_in_whatever_letters_it_comes_back(ours: Settings) -> None:
    for delivery_id in (CASE, *(uuid.uuid4() for _ in range(200))):
        token = delivery_token(ours, delivery_id)
        assert len(f"case+{token}") <= 64
        assert re.fullmatch("[a-z2-7]{45}", token)
        assert open_delivery_token(ours, token) == open_delivery_token(ours, token.upper()) == delivery_id


def test_a_deliverys_token_with_another_letter_names_nothing(ours: Settings) -> None:
    token = delivery_token(ours, CASE)
    for at in range(44):  # of the last letter one bit is spare
        forged = token[:at] + ("b" if token[at] == "a" else "a") + token[at + 1 :]
        with pytest.raises(NotFound):
            open_delivery_token(ours, forged)


def test_a_deliverys_token_outlives_the_secret_that_is_rotated_out(make_settings: MakeSettings) -> None:
    token = delivery_token(make_settings(secret_key=OLD), CASE)
    assert open_delivery_token(make_settings(secret_key=NEW, secret_key_previous=OLD), token) == CASE


@pytest.mark.parametrize("token", ["", "a", "!" * 45, "字" * 10, "a" * 45, "a" * 500])
def test_what_is_no_deliverys_token_names_nothing(ours: Settings, token: str) -> None:
    with pytest.raises(NotFound):
        open_delivery_token(ours, token)
