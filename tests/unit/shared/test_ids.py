from __future__ import annotations

import pytest

from shared.ids import ORDER_REF_LENGTH, IntentId, deployment_tag, exec_stem, intent_id, order_ref, parse_order_ref


def test_a_retried_commit_makes_the_same_intent_ids_and_another_one_others() -> None:
    first = intent_id("d", "unit", 7, 0)
    assert first == intent_id("d", "unit", 7, 0)
    others = {
        intent_id("d", "unit", 7, 1),
        intent_id("d", "unit", 8, 0),
        intent_id("d", "u", 7, 0),
        intent_id("e", "unit", 7, 0),
    }
    assert len(others) == 4 and first not in others


def test_an_order_reference_is_short_printable_and_reads_back_whatever_ib_appends() -> None:
    intent = intent_id("d", "u", 1, 0)
    reference = order_ref("d", intent, 2)
    assert len(reference) == ORDER_REF_LENGTH and reference.isascii() and reference.isprintable()
    for suffix in ("", "/preset", " 1"):
        assert parse_order_ref(reference + suffix) == (deployment_tag("d"), intent, 2)


@pytest.mark.parametrize("text", ["", "manual", "cq", "cqabcdef-short-00", "CQABCDEF"])
def test_other_references_are_not_ours(text: str) -> None:
    assert parse_order_ref(text) is None


def test_what_could_not_be_a_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="20 characters"):
        order_ref("d", IntentId("short"), 0)
    with pytest.raises(ValueError, match=r"leg 0\.\.99"):
        order_ref("d", intent_id("d", "u", 1, 0), 100)


def test_a_correction_shares_its_stem() -> None:
    assert exec_stem("0000e1a7.5c46793a.01.01") == ("0000e1a7.5c46793a.01", 1)
    assert exec_stem("0000e1a7.5c46793a.01.02") == ("0000e1a7.5c46793a.01", 2)
    assert exec_stem("odd") == ("odd", 1)
