import unicodedata
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterwatch.casework import rules, tables
from waterwatch.casework.rules import Standing


def test_the_machine_knows_exactly_the_states_the_table_allows() -> None:
    assert rules.ANSWER.states == set(tables.ANSWER_STATES)


@pytest.mark.parametrize(
    ("moves", "is_legal"),
    [
        (("held", "published"), True),
        (("held", "withheld"), True),
        (("published", "withheld"), True),
        (("withheld", "published"), True),
        (("published", "held"), False),
        (("withheld", "held"), False),
    ],
)
def test_every_move_of_an_answer(moves: tuple[str, str], is_legal: bool) -> None:
    assert rules.ANSWER.is_legal(*moves) is is_legal


@pytest.mark.parametrize("via", tables.VIAS)
def test_a_mail_and_a_citys_system_are_looked_at_first_also_where_nothing_else_is(via: str) -> None:
    assert rules.is_checked_first(via, answers_are_checked=False) is (via in ("email", "open311"))
    assert rules.is_checked_first(via, answers_are_checked=True)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("  已派员现场核查。\r\n\r\n\r\n\r\n计划月底完成。 \t\n", "已派员现场核查。\n\n计划月底完成。"),
        ("已处理\u202egnp.exe", "已处理gnp.exe"),  # a right-to-left override turns words about
        ("a\x00b\x1b[31mc\u200bd", "ab[31mcd"),
        ("\u2028\u2029", ""),
        ("e\u0301tude", "étude"),
    ],
)
def test_words_are_plain_text(written: str, kept: str) -> None:
    assert rules.clean_words(written) == kept


@given(st.text(max_size=300))
def test_words_hold_nothing_hidden_and_cleaning_them_again_changes_nothing(written: str) -> None:
    kept = rules.clean_words(written)
    assert all(letter == "\n" or unicodedata.category(letter)[0] != "C" for letter in kept)
    assert rules.clean_words(kept) == kept
    assert "\n\n\n" not in kept


def test_too_long_a_text_is_cut_and_says_so() -> None:
    kept = rules.clean_words("水" * 5000)
    assert (len(kept), kept[-3:]) == (4000, "水……")


def test_a_plan_is_neither_past_nor_beyond_five_years() -> None:
    today = date(2026, 5, 20)
    assert rules.is_plan(today, today=today)
    assert not rules.is_plan(today - timedelta(days=1), today=today)
    assert not rules.is_plan(date(2032, 1, 1), today=today)


DONE = Standing("competent", "closed", has_public_done=True)


@pytest.mark.parametrize(
    ("cases", "is_claimed"),
    [
        ([], False),
        ([DONE], True),
        ([DONE, DONE], True),
        ([DONE, Standing("competent", "answered")], False),
        ([DONE, Standing("competent", "closed", has_public_done=False)], False),
        ([DONE, Standing("competent", "refused_not_ours")], True),
        ([DONE, Standing("competent", "no_contact")], True),
        ([DONE, Standing("competent", "dead")], True),
        ([DONE, Standing("supervising", "delivered")], True),
        ([Standing("supervising", "closed", has_public_done=True)], False),
        ([Standing("competent", "refused_not_ours")], False),
    ],
)
def test_it_is_said_to_be_done_when_everybody_who_is_competent_says_so_in_public(
    cases: list[Standing], is_claimed: bool
) -> None:
    assert rules.is_claimed_done(cases) is is_claimed
