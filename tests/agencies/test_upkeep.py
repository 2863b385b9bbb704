"""What an administrator does to agencies: the tree stays one, contacts are sound, secrets are seen once."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.agencies import registry, upkeep
from waterwatch.agencies.queries import competent_agencies
from waterwatch.agencies.rules import is_same_host
from waterwatch.agencies.tables import SEALED_FOR
from waterwatch.agencies.upkeep import AgencyFacts, ContactFacts
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.kernel.sealing import open_value
from waterwatch.kernel.settings import Settings

BY: dict[str, Any] = {"actor": Actor.system("tests")}
WUCHANG = (114.33, 30.54)
FACTS = AgencyFacts("wuchang-sea", "maritime", "420106", {"zh-Hans": "武昌海事处"})


def id_of(session: Session, code: str) -> uuid.UUID:
    """An agency's id."""
    found = registry.agency_id_of(session, code)
    assert found is not None
    return found


def told(session: Session, kind: str) -> list[str]:
    """Who is told of a kind at 武昌."""
    return [one.code for one in competent_agencies(session, *WUCHANG, kind, 2)]


def test_a_new_agency_is_told_by_the_rules_at_once_and_a_retired_one_no_more(session: Session, now: datetime) -> None:
    agency_id = upkeep.add_agency(session, FACTS, now=now, **BY)
    assert told(session, "oil_slick") == ["wuhan-06-ecology", "wuchang-sea"]
    upkeep.retire_agency(session, agency_id, now=now, **BY)
    assert told(session, "oil_slick") == ["wuhan-06-ecology"]
    upkeep.reinstate_agency(session, agency_id, now=now, **BY)
    assert told(session, "oil_slick") == ["wuhan-06-ecology", "wuchang-sea"]


def test_an_office_that_becomes_waterworks_is_told_of_nothing_any_more(session: Session, now: datetime) -> None:
    agency_id = upkeep.add_agency(session, FACTS, now=now, **BY)
    session.execute(
        text("INSERT INTO competence (id, agency_id, min_severity) VALUES (gen_random_uuid(), :id, 1)"),
        {"id": agency_id},
    )
    assert "wuchang-sea" in told(session, "foam")
    upkeep.change_agency(session, agency_id, replace(FACTS, kind="waterworks"), now=now, **BY)
    assert "wuchang-sea" not in told(session, "foam") + told(session, "oil_slick")


def test_an_agency_that_moves_is_told_of_the_other_place(session: Session, now: datetime) -> None:
    agency_id = upkeep.add_agency(session, FACTS, now=now, **BY)
    upkeep.change_agency(session, agency_id, replace(FACTS, area_code="420105"), now=now, **BY)
    assert told(session, "oil_slick") == ["wuhan-06-ecology"]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"area_code": "999999"}, {"area": ["area_unknown"]}),
        ({"names": {}}, {"name": ["missing"]}),
        ({"kind": "basin_authority"}, {"kind": ["basin_and_authority"]}),
        ({"parent_code": "nobody"}, {"parent": ["parent_unknown"]}),
        ({"parent_code": "wuhan-06-ecology"}, {"parent": ["parent_not_above"]}),
        ({"parent_code": "suzhou-ecology"}, {"parent": ["parent_elsewhere"]}),
        ({"parent_code": "42-ecology"}, {"parent": ["parent_skips_level"]}),
        ({"code": "wuchang-water"}, {"code": ["code_taken"]}),
    ],
)
def test_what_does_not_hold_together_is_refused(
    session: Session, now: datetime, changes: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    with pytest.raises(Invalid) as caught:
        upkeep.add_agency(session, replace(FACTS, **changes), now=now, **BY)
    assert caught.value.errors == errors


def test_nobody_answers_to_who_answers_to_them(session: Session, now: datetime) -> None:
    parent = upkeep.add_agency(session, replace(FACTS, code="city-sea", area_code="420100"), now=now, **BY)
    upkeep.add_agency(session, replace(FACTS, parent_code="city-sea"), now=now, **BY)
    changed = replace(FACTS, code="city-sea", area_code="420100", parent_code="wuchang-sea")
    with pytest.raises(Invalid) as caught:
        upkeep.change_agency(session, parent, changed, now=now, **BY)
    assert caught.value.errors == {"parent": ["answers_in_a_circle"]}


def test_those_below_a_retired_agency_answer_to_the_one_above_it(session: Session, now: datetime) -> None:
    moved = upkeep.retire_agency(session, id_of(session, "wuhan-ecology"), now=now, **BY)
    assert moved == 13
    child = registry.agencies_with_those_above(session, [id_of(session, "wuhan-06-ecology")])
    assert {one.code for one in child.values()} == {"wuhan-06-ecology", "42-ecology"}
    assert upkeep.retire_agency(session, id_of(session, "wuhan-ecology"), now=now, **BY) == 0


def test_every_built_in_agency_stands_rightly_in_the_tree(session: Session, now: datetime) -> None:
    """Saved as it is, each is taken: the form would let an administrator build the same tree."""
    rows = session.execute(
        text("""SELECT a.id, a.code, a.kind, a.level, j.code AS area, p.code AS parent
                FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id
                LEFT JOIN agency p ON p.id = a.parent_id""")
    ).all()
    for row in rows:
        facts = AgencyFacts(row.code, row.kind, row.area, {"zh-Hans": "名"}, row.level, row.parent)
        upkeep._apply(session, registry.locked_agency(session, row.id), facts)
    assert len(rows) == 270


@pytest.fixture
def sealed(make_settings: Callable[..., Settings]) -> Settings:
    """Settings with a secret."""
    return make_settings()


def test_a_webhooks_secret_is_seen_once_sealed_and_replaced_while_both_hold(
    session: Session, now: datetime, sealed: Settings
) -> None:
    agency_id = id_of(session, "wuchang-water")
    facts = ContactFacts("webhook", "https://water.example/hook", {"takes_pictures": True})
    contact_id, first = upkeep.add_contact(session, agency_id, facts, settings=sealed, now=now, **BY)
    second = upkeep.rotate_secret(session, contact_id, settings=sealed, now=now, **BY)
    assert first is not None
    assert first.startswith("whsec_")
    assert second is not None
    assert second != first
    contact = registry.locked_contact(session, contact_id)
    assert contact.sealed_secret is not None
    assert contact.sealed_secret_previous is not None
    assert open_value(sealed, SEALED_FOR, contact_id, contact.sealed_secret).decode() == second
    assert open_value(sealed, SEALED_FOR, contact_id, contact.sealed_secret_previous).decode() == first


def test_an_open311_servers_key_is_kept_where_none_is_given(session: Session, now: datetime, sealed: Settings) -> None:
    facts = ContactFacts("open311", "https://city.example/v2", {"services": {"foam": "12"}}, "the key")
    agency_id = id_of(session, "wuchang-water")
    contact_id, shown = upkeep.add_contact(session, agency_id, facts, settings=sealed, now=now, **BY)
    assert shown is None
    upkeep.change_contact(session, contact_id, replace(facts, secret=None), settings=sealed, now=now, **BY)
    kept = registry.locked_contact(session, contact_id).sealed_secret
    assert kept is not None
    assert open_value(sealed, SEALED_FOR, contact_id, kept) == b"the key"
    with pytest.raises(Conflict, match="secret_not_ours"):
        upkeep.rotate_secret(session, contact_id, settings=sealed, now=now, **BY)


@pytest.mark.parametrize(
    ("address", "is_same"),
    [
        ("https://water.example/other?x=1", True),
        ("https://WATER.example:443/hook", True),
        ("https://water.example:8443/hook", False),
        ("http://water.example/hook", False),
        ("https://water.example.evil.example/hook", False),
        ("https://www.water.example/hook", False),
    ],
)
def test_a_server_is_the_same_by_scheme_host_and_port(address: str, is_same: bool) -> None:
    for channel in ("webhook", "open311"):
        assert is_same_host(channel, "https://water.example/hook", address) is is_same
    assert is_same_host("email", "a@b.example", "c@d.example")


def test_a_webhook_that_moves_to_another_host_gets_a_secret_of_its_own(
    session: Session, now: datetime, sealed: Settings
) -> None:
    agency_id = id_of(session, "wuchang-water")
    facts = ContactFacts("webhook", "https://water.example/hook", {"takes_pictures": True})
    contact_id, _first = upkeep.add_contact(session, agency_id, facts, settings=sealed, now=now, **BY)
    second = upkeep.rotate_secret(session, contact_id, settings=sealed, now=now, **BY)
    contact = registry.locked_contact(session, contact_id)
    beside = replace(facts, address="https://water.example/other")
    assert upkeep.change_contact(session, contact_id, beside, settings=sealed, now=now, **BY) is None
    assert contact.sealed_secret is not None
    assert contact.sealed_secret_previous is not None
    elsewhere, later = replace(facts, address="https://hooks.example/water"), now + timedelta(days=1)
    third = upkeep.change_contact(session, contact_id, elsewhere, settings=sealed, now=later, **BY)
    assert third is not None
    assert third.startswith("whsec_")
    assert third != second
    assert open_value(sealed, SEALED_FOR, contact_id, contact.sealed_secret).decode() == third
    assert (contact.sealed_secret_previous, contact.secret_rotated_at) == (None, later)


def test_another_open311_server_is_never_shown_the_key_of_the_one_before(
    session: Session, now: datetime, sealed: Settings
) -> None:
    facts = ContactFacts("open311", "https://city.example/v2", {"services": {"foam": "12"}}, "the key")
    contact_id, _none = upkeep.add_contact(
        session, id_of(session, "wuchang-water"), facts, settings=sealed, now=now, **BY
    )
    elsewhere = replace(facts, address="https://town.example/v2", secret=None)
    with pytest.raises(Invalid) as caught:
        upkeep.change_contact(session, contact_id, elsewhere, settings=sealed, now=now, **BY)
    assert caught.value.errors == {"api_key": ["key_of_another_host"]}
    contact = registry.locked_contact(session, contact_id)
    assert contact.address == "https://city.example/v2"
    own = replace(elsewhere, secret="its own key")
    assert upkeep.change_contact(session, contact_id, own, settings=sealed, now=now, **BY) is None
    assert contact.sealed_secret is not None
    assert open_value(sealed, SEALED_FOR, contact_id, contact.sealed_secret) == b"its own key"


@pytest.mark.parametrize(
    ("facts", "errors"),
    [
        (ContactFacts("pigeon", "x"), {"channel": ["not_a_choice"]}),
        (ContactFacts("email", "no address"), {"address": ["address_unreadable"]}),
        (ContactFacts("email", "wuchang-water@agency.example"), {"address": ["address_taken"]}),
        (ContactFacts("webhook", "https://u:p@h.example/"), {"address": ["not_a_url"]}),
        (ContactFacts("webhook", "ftp://h.example/"), {"address": ["not_a_url"]}),
        (ContactFacts("open311", "https://h.example", {"services": {"foam": "a b"}}), {"services": ["not_a_mapping"]}),
        (ContactFacts("post", ""), {"address": ["required"]}),
    ],
)
def test_a_contact_that_cannot_work_is_refused(
    session: Session, now: datetime, sealed: Settings, facts: ContactFacts, errors: dict[str, list[str]]
) -> None:
    with pytest.raises(Invalid) as caught:
        upkeep.add_contact(session, id_of(session, "wuchang-water"), facts, settings=sealed, now=now, **BY)
    assert caught.value.errors == errors


def test_contacts_have_an_order_and_those_out_of_use_are_not_told(
    session: Session, now: datetime, sealed: Settings
) -> None:
    agency_id = id_of(session, "wuchang-water")
    facts = ContactFacts("email", "duty@agency.example")
    contact_id, _none = upkeep.add_contact(session, agency_id, facts, settings=sealed, now=now, **BY)

    def addresses() -> tuple[str, ...]:
        found = competent_agencies(session, *WUCHANG, "sewage_outfall", 2)
        return next(one.addresses for one in found if one.code == "wuchang-water")

    assert addresses() == ("wuchang-water@agency.example", "duty@agency.example")
    upkeep.prefer_contact(session, contact_id, now=now, **BY)
    assert addresses() == ("duty@agency.example", "wuchang-water@agency.example")
    upkeep.use_contact(session, contact_id, is_used=False, now=now, **BY)
    assert addresses() == ("wuchang-water@agency.example",)


def test_the_audit_has_no_address_name_or_secret(session: Session, now: datetime, sealed: Settings) -> None:
    agency_id = upkeep.add_agency(session, FACTS, now=now, **BY)
    facts = ContactFacts("webhook", "https://water.example/hook")
    contact_id, secret = upkeep.add_contact(session, agency_id, facts, settings=sealed, now=now, **BY)
    upkeep.use_contact(session, contact_id, is_used=False, now=now, **BY)
    said = str(session.execute(text("SELECT action, before, after FROM audit_entry")).all())
    assert {"agency.added", "contact.added", "contact.dropped"} <= set(
        session.execute(text("SELECT action FROM audit_entry")).scalars()
    )
    assert not any(word in said for word in ("武昌", "water.example", str(secret)))
