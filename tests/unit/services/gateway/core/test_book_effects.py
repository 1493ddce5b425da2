from __future__ import annotations

from dataclasses import FrozenInstanceError
from decimal import Decimal
from typing import get_args

import pytest

from services.gateway.core.book_effects import AskBroker, BooksEffect, Reassigned


def test_effects_compare_by_value_and_cannot_be_changed() -> None:
    assert AskBroker(1) == AskBroker(1) != AskBroker(2)
    effect = Reassigned(1, "demo", Decimal(10), "split:1", "split 2:1")
    with pytest.raises(FrozenInstanceError):
        effect.owner = "other"  # type: ignore[misc]


def test_every_effect_names_its_contract() -> None:
    assert all("con_id" in each.__dataclass_fields__ for each in get_args(BooksEffect))
