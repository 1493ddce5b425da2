from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from copilot_quant.local.books import Verdict
from copilot_quant.local.failover_story import Story, bar, render, tell
from shared.messages.control import BrokerStatus, LinkState, Reconciled
from shared.messages.orders import Fill, Side

KILLED_NS = 1_000_000_000_000
CLEAN = Verdict(orders=2, executions=1)


def at(ms: float) -> int:
    return KILLED_NS + int(ms * 1e6)


def status(ms: float, state: LinkState, instance: str = "gateway-2") -> BrokerStatus:
    return BrokerStatus(ts_init_ns=at(ms), instance=instance, state=state, is_leader=True, epoch=2)


def fill(ms: float, *, is_late: bool) -> Fill:
    return Fill(
        ts_init_ns=at(ms), exec_id="x", exec_stem="x", strategy="manual", account="A", con_id=1, side=Side.BUY,
        quantity=Decimal(1), price=Decimal(1), is_late=is_late,
    )  # fmt: skip


def story(verdict: Verdict = CLEAN, *, orders_ms: tuple[float, ...] = (-50, 1300), successor: bool = True) -> Story:
    truth: dict[str, Any] = {
        "orders": [{"received_ns": at(ms)} for ms in orders_ms],
        "executions": [{"ts_ns": at(300)}],
    }
    ledger = [{"kind": "fault", "name": "manual_fill", "ts_ns": at(300)}]
    messages = [
        status(-5000, LinkState.READY, "gateway-1"),
        fill(-100, is_late=True),
        *(
            [
                status(1050, LinkState.DOWN),
                status(1100, LinkState.RECONCILING),
                fill(1180, is_late=True),
                Reconciled(
                    ts_init_ns=at(1190), instance="gateway-2", epoch=2, incarnation="i", orders_found=3,
                    fills_recovered=1, orders_unknown=0, took_ms=80,
                ),
                status(1200, LinkState.READY),
                status(9000, LinkState.DOWN),
            ]
            if successor
            else []
        ),
    ]  # fmt: skip
    return tell("gateway-1", KILLED_NS, truth, ledger, messages, at(1060) if successor else None, verdict)


def test_the_story_has_every_moment_once_in_order() -> None:
    told = story()
    assert [(moment.at_ms, moment.who) for moment in told.moments] == [
        (-50, "broker"), (0, "gateway-1"), (300, "broker"), (1050, "gateway-2"), (1060, "gateway-2"),
        (1100, "gateway-2"), (1190, "gateway-2"), (1200, "gateway-2"), (1300, "broker"),
    ]  # fmt: skip
    assert (told.successor, told.ready_ms, told.first_tick_ms) == ("gateway-2", 1200, 1060)
    assert (told.last_order_ms, told.first_order_ms) == (-50, 1300)
    assert told.fills_recovered == 1, "only what the successor found out"
    assert told.is_clean


@pytest.mark.parametrize(
    "told",
    [
        story(Verdict(orders=2, executions=1, sent_twice=1)),
        story(Verdict(orders=2, executions=1, fills_lost=1)),
        story(orders_ms=(-50,)),
        story(successor=False),
    ],
)
def test_a_duplicate_a_loss_no_flow_or_no_successor_is_not_clean(told: Story) -> None:
    assert not told.is_clean


def test_the_story_goes_into_json_and_onto_a_screen() -> None:
    told = story(Verdict(orders=2, executions=1, fills_lost=1, differences=("cash: broker 1, bus 2",)))
    content = json.loads(json.dumps(told.as_json(), default=str))
    assert content["first_order_ms"] == 1300 and content["is_clean"] is False
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - nobody reads it
    console.print(render(told))
    shown = console.export_text()
    assert "+1200 ms" in shown and "NOT CLEAN" in shown and "differs: cash" in shown
    console.file.close()


def test_a_bar_shows_where_most_happened_and_leaves_out_what_lies_outside() -> None:
    assert bar([0, 1, 2, 3, 95, -10, 200], 0, 100, columns=10) == "█        ▂"
    assert bar([], 0, 100, columns=3) == "   "
