"""Every client library's own decoder makes of our messages what we put into them, at every server version it speaks.

Tried are messages in which every field has a value of its own (`distinct.py`), and messages as the simulator sends them
(`samples.py`). What a library is known to read and not to hand on stands in `agreement.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.tws import responses as r
from tests.conformance.peers import peer
from tests.conformance.tws.agreement import differences, names_on_the_wire, ours
from tests.conformance.tws.distinct import distinct
from tests.conformance.tws.samples import RESPONSES

GATES = (157, 159, 160, 162, 163, 164, 166, 169, 170, 176, 177, 178)
LATER = (179, 180, 182, 183, 184, 185, 186, 190, 191, 192, 193, 194, 195, 196, 197, 198, 199, 200)
CLIENTS = {
    "ib_insync": ("ib_insync", GATES[:-2]),
    "ib_async": ("ib_async", GATES),
    "ibapi-latest": ("ibapi", GATES + LATER),
    "ibapi-stable": ("ibapi", (*GATES, 194, 200)),
    "ibapi-9.81": ("ibapi", (157,)),
}
NEVER_SENT: dict[type, set[str]] = {
    # an order's attributes that placeOrder alone carries, and a state's that completedOrder does
    r.OpenOrder: {
        "active_start_time", "active_stop_time", "advanced_error_override", "algo_id", "manual_order_time",
        "mifid2_decision_algo", "mifid2_decision_maker", "mifid2_execution_algo", "mifid2_execution_trader",
        "override_percentage_constraints", "scale_table", "primary_exchange", "completed_status", "completed_time",
    },
    r.BondContractDetails: {"last_trade_date"},
}  # fmt: skip
MESSAGES = [*distinct(), *RESPONSES]


def cases(versions: tuple[int, ...]) -> list[tuple[int, r.Response]]:
    """Return what there is to try: every message at every version that has it."""
    return [(version, each) for version in versions for each in MESSAGES if r.RESPONSES.since(type(each)) <= version]


def answers(client: str) -> list[tuple[int, r.Response, list[Any], list[str]]]:
    """Return what a library has made of every message, and what it complained about."""
    module, versions = CLIENTS[client]
    environment = {"PATH": os.environ["PATH"]}
    if client != "ib_insync":
        environment["PYTHONPATH"] = str(peer(client))
    tried = cases(versions)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("ask_peer.py")), module],
        input="".join(f"{version} {r.encode_response(each, version).hex()}\n" for version, each in tried),
        capture_output=True, text=True, timeout=100, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [(*case, calls, texts) for case, (calls, texts) in zip(tried, lines, strict=True)]


def _is_removed(client: str, message: r.Response) -> bool:
    return isinstance(message, r.FundamentalData) and client in ("ibapi-latest", "ibapi-stable")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("client", CLIENTS)
def test_every_value_arrives(client: str) -> None:
    wrong: list[str] = []
    for version, message, calls, texts in answers(client):
        if _is_removed(client, message):
            continue
        kind = type(message).__name__
        wrong += [f"{kind} at {version}: {text}" for text in texts]
        if not calls:
            wrong.append(f"{kind} at {version}: nothing was called")
        if client.startswith("ibapi") and not isinstance(message, r.ErrorMessage):
            wrong += [f"{kind} at {version}: {call}" for call in calls if call[0] == "error"]
        wrong += differences(message, version, calls, client)
    assert not wrong, "\n".join(wrong[:20])


def test_every_class_is_tried() -> None:
    assert {type(each) for each in distinct()} == set(r.RESPONSES.classes)


def test_hardly_anything_is_never_on_the_wire() -> None:
    """What a class has and no version carries would be a mistake of the layouts."""
    for message in distinct():
        kind = type(message)
        if kind is r.CompletedOrder:  # carries half of an order, as ib-facts B.6 lists it
            continue
        carried = names_on_the_wire(kind.__name__, 176) | names_on_the_wire(kind.__name__, 200)
        known = NEVER_SENT.get(kind, set())
        assert {name for _, name, value in ours(message) if value not in ("", None, 0)} - carried == known, kind


def test_a_value_in_the_wrong_field_is_seen() -> None:
    message = next(each for each in distinct() if isinstance(each, r.MarketDepthL2))
    right = [["updateMktDepthL2", {"reqId": message.req_id, "position": message.position,
              "marketMaker": message.market_maker, "operation": message.operation, "side": message.side,
              "price": message.price, "size": message.size, "isSmartDepth": True}]]  # fmt: skip
    assert differences(message, 176, right, "ibapi-latest") == []
    right[0][1].update(operation=message.side, side=message.operation)  # type: ignore[attr-defined]
    assert len(differences(message, 176, right, "ibapi-latest")) == 2
