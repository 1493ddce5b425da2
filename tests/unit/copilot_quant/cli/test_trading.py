from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

import pytest

from shared.ids import MANUAL
from shared.messages.orders import CancelRequest, Group, Intent, OrderState, OrderType, Side, TimeInForce
from shared.settings import Mode
from tests.unit.copilot_quant.cli.conftest import INTENT, Typed, World, a_position, an_order

Cq = Callable[..., Typed]


def the_intent(world: World) -> Intent:
    (intent,) = world.heard_of(Intent)
    assert isinstance(intent, Intent)
    return intent


def test_a_market_order_is_followed_to_its_fill(world: World, cq: Cq) -> None:
    world.states = [OrderState.WORKING, OrderState.FILLED]
    done = cq("order", "buy", "AAPL", "100")
    assert done.status == 0 and "filled 100 at 150.01" in done.out
    intent = the_intent(world)
    assert (intent.legs[0].order_type, intent.legs[0].side) == (OrderType.MARKET, Side.BUY)
    assert (intent.con_id, intent.account, intent.strategy) == (265598, "DUSIM0001", MANUAL)


def test_every_option_of_an_order_reaches_risk(world: World, cq: Cq) -> None:
    options = ["--limit", "151.5", "--stop", "151", "--tif", "GTC", "--outside-rth", "--strategy", "momentum"]
    done = cq("order", "sell", "AAPL", "10", *options, "--json")
    assert done.status == 0 and done.json["state"] == "working"
    (leg,) = the_intent(world).legs
    assert (leg.side, leg.quantity, leg.order_type) == (Side.SELL, Decimal(10), OrderType.STOP_LIMIT)
    assert (leg.limit_price, leg.stop_price) == (Decimal("151.5"), Decimal(151))
    assert (leg.tif, leg.outside_rth, the_intent(world).strategy) == (TimeInForce.GTC, True, "momentum")


def test_a_bracket_is_one_intent_with_its_exits(world: World, cq: Cq) -> None:
    assert cq("order", "buy", "AAPL", "10", "--limit", "150", "--bracket", "160:145").status == 0
    intent = the_intent(world)
    assert intent.group is Group.BRACKET
    assert [(leg.side, leg.limit_price, leg.stop_price) for leg in intent.legs[1:]] == [
        (Side.SELL, Decimal(160), None),
        (Side.SELL, None, Decimal(145)),
    ]


@pytest.mark.parametrize(
    "words, status, says",
    [
        (["AAPL", "0"], 65, "quantity must be positive"),
        (["AAPL", "many"], 65, "'many' is not a number"),
        (["AAPL", "1", "--limit", "-3"], 65, "--limit must be positive"),
        (["AAPL", "1", "--bracket", "160"], 65, "TAKE_PROFIT:STOP_LOSS"),
        (["AAPL"], 64, "Missing argument"),
        (["AAPL", "1", "--tif", "SOON"], 64, "--tif"),
        (["FUT:ES", "1"], 65, "cq: "),
    ],
)
def test_a_mistake_is_explained_and_nothing_is_sent(
    world: World, cq: Cq, words: list[str], status: int, says: str
) -> None:
    done = cq("order", "buy", *words)
    assert done.status == status and says in done.err and "Traceback" not in done.err
    assert not world.heard_of(Intent)


def test_a_refusal_of_risk_is_status_77_with_its_code(world: World, cq: Cq) -> None:
    world.refusal = ("RISK_ORDER_NOTIONAL", "15,000 USD is more than 10,000")
    done = cq("order", "buy", "AAPL", "100")
    assert done.status == 77 and not done.out, "said once"
    assert re.fullmatch(
        r"cq: RISK_ORDER_NOTIONAL: order \w{20} rejected by risk: 15,000 USD is more than 10,000\n", done.err
    )


def test_a_refusal_of_the_broker_is_told_apart(world: World, cq: Cq) -> None:
    world.states = [OrderState.REJECTED]
    done = cq("order", "buy", "AAPL", "100")
    assert done.status == 77 and "rejected by the broker" in done.err


@pytest.mark.parametrize("answer, is_sent", [("y\n", True), ("n\n", False), ("", False)])
def test_in_live_an_order_shows_account_and_notional_and_asks(world: World, cq: Cq, answer: str, is_sent: bool) -> None:
    world.mode = Mode.LIVE
    live = World(Mode.LIVE)
    world.keys, world.bus = live.keys, live.bus
    done = cq("order", "buy", "AAPL", "100", "--limit", "150", stdin=answer)
    assert "LIVE account U7654321: BUY 100 AAPL LMT, about 15,000.00 USD" in done.out
    assert bool(world.heard_of(Intent)) is is_sent
    assert (done.status == 0) is is_sent


def test_in_live_a_script_says_yes(world: World, cq: Cq) -> None:
    live = World(Mode.LIVE)
    world.mode, world.keys, world.bus = live.mode, live.keys, live.bus
    world.states = [OrderState.FILLED]
    assert cq("order", "buy", "AAPL", "100", "--yes").status == 0
    assert world.heard_of(Intent)


def test_an_order_is_cancelled_by_intent_or_reference(world: World, cq: Cq) -> None:
    world.work(an_order())
    for name in (INTENT, f"cq-{INTENT}", "all"):
        world.heard.clear()
        done = cq("cancel", name)
        assert done.status == 0 and "1 cancel(s) sent" in done.out
    assert len(cq("cancel", INTENT, "--json").json) == 1


def test_what_is_no_order_of_ours_is_not_cancelled(world: World, cq: Cq) -> None:
    world.work(an_order(intent_id="", order_ref="", perm_id=77))
    done = cq("cancel", "77")
    assert done.status == 65 and "cq orders" in done.err
    assert "0 cancel(s) sent" in cq("cancel", "all").out and not world.heard_of(CancelRequest)


def test_a_position_is_closed_by_the_opposite_side(world: World, cq: Cq) -> None:
    world.hold(a_position(-70))
    world.states = [OrderState.FILLED]
    done = cq("close", "AAPL", "--yes")
    assert done.status == 0
    (leg,) = the_intent(world).legs
    assert (leg.side, leg.quantity, leg.order_type) == (Side.BUY, Decimal(70), OrderType.MARKET)


def test_closing_asks_and_names_what_it_would_close(world: World, cq: Cq) -> None:
    world.hold(a_position())
    done = cq("close", "--all", stdin="n\n")
    assert done.status == 1 and "close 100 AAPL" in done.out and not world.heard_of(Intent)


def test_a_strategy_is_closed_by_what_its_fills_built(world: World, cq: Cq) -> None:
    world.hold(a_position(500))
    world.fill(1, 1)
    world.fill(2, 2, side=Side.SELL, quantity=Decimal(40))
    world.fill(3, 3, strategy="other")
    world.states = [OrderState.FILLED]
    assert cq("close", "--strategy", "momentum", "--yes").status == 0
    intent = the_intent(world)
    assert (intent.legs[0].quantity, intent.legs[0].side, intent.strategy) == (Decimal(60), Side.SELL, "momentum")


@pytest.mark.parametrize("words", [[], ["AAPL", "--all"], ["AAPL"]])
def test_closing_needs_one_thing_that_is_held(world: World, cq: Cq, words: list[str]) -> None:
    done = cq("close", *words, "--yes")
    assert done.status == 65 and not world.heard_of(Intent)
