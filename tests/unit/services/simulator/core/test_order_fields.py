"""Every field of an order has its place, and what is asked for without effect is told by name."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

from services.simulator.core.order_fields import CARRIED_OUT, FOR_THE_RECORD, WITHOUT_EFFECT, is_asked, without_effect
from shared.tws.contract import OrderComboLeg
from shared.tws.fields import TagValue
from shared.tws.order import TwsOrder

PLAIN = TwsOrder(action="BUY", total_quantity=Decimal(100), order_type="LMT", lmt_price=Decimal(10), tif="DAY")
TOLD = {name: what for what, names in WITHOUT_EFFECT.items() for name in names}
SPECIAL: dict[str, Any] = {
    "algo_params": (TagValue("adaptivePriority", "Urgent"),),
    "smart_combo_routing_params": (TagValue("NonGuaranteed", "1"),),
    "order_combo_legs": (OrderComboLeg(Decimal("1.25")),),
}


def asked_of(name: str) -> Any:
    """Return a value that asks for something."""
    if name in SPECIAL:
        return SPECIAL[name]
    default = getattr(PLAIN, name)
    if isinstance(default, bool):
        return True
    return "x" if isinstance(default, str) else 1


def test_each_field_is_named_once() -> None:
    named = [*CARRIED_OUT, *FOR_THE_RECORD, *TOLD]
    assert sorted(named) == sorted(each.name for each in fields(TwsOrder))


@pytest.mark.parametrize("name", sorted(TOLD))
def test_what_has_no_effect_is_named(name: str) -> None:
    (told,) = without_effect(replace(PLAIN, **{name: asked_of(name)}))
    assert told.startswith(TOLD[name])


def test_an_order_as_clients_send_it_asks_for_nothing_of_that() -> None:
    assert without_effect(PLAIN) == ()
    sent_back = replace(
        PLAIN, delta_neutral_order_type="None", trigger_price=Decimal(0), order_combo_legs=(OrderComboLeg(),)
    )
    assert without_effect(sent_back) == ()


def test_names_come_with_what_they_name_and_a_discretion_only_where_it_is_not_carried_out() -> None:
    assert without_effect(replace(PLAIN, algo_strategy="Adaptive", hedge_type="D")) == ("algorithm Adaptive", "hedge D")
    assert without_effect(replace(PLAIN, discretionary_amt=Decimal("0.1"))) == ()
    assert without_effect(replace(PLAIN, order_type="MKT", discretionary_amt=Decimal("0.1"))) == (
        "discretionary amount",
    )
    assert not is_asked("use_price_mgmt_algo", False) and is_asked("use_price_mgmt_algo", True)
