from __future__ import annotations

import getpass
import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from copilot_quant.desk import Desk
from copilot_quant.local.run_file import RunningSystem
from shared.messages import decode_fields
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState
from shared.settings import Mode
from tests.unit.copilot_quant.cli.conftest import Typed, World, a_position, an_order, in_the_end

Cq = Callable[..., Typed]


def test_a_halt_is_confirmed_by_the_gateway_and_kept_with_its_reason(world: World, cq: Cq) -> None:
    done = cq("halt", "--reason", "odd prices")
    assert done.status == 0 and "HALTED (holding): odd prices" in done.out
    (act,) = world.heard_of(Control)
    assert (act.action, act.reason, act.everything) == (ControlAction.HALT, "odd prices", False)
    assert cq("halt", "--json").json["stage"] == "holding"


def test_everything_holds_first_then_lists_what_dies_then_has_it_cancelled(world: World, cq: Cq) -> None:
    world.work(
        an_order(order_ref="a", remaining=Decimal(7), order_type="LMT", limit_price=Decimal(150)),
        an_order(order_ref="b", stop_price=Decimal(9), is_external=True),
        an_order(order_ref="c", state=OrderState.CANCELLED),
    )
    done = cq("halt", "--everything")
    named = [line for line in done.out.splitlines() if line.startswith("cancelling: ")]
    assert len(named) == 2 and named[0].endswith("SELL 7 AAPL LMT 150 (momentum)")
    assert named[1].endswith("SELL 100 AAPL STP 9 (not ours)")
    acts = [
        decode_fields(one.fields).message for one in in_the_end(world, lambda bus: bus.read_range(world.keys.control))
    ]
    assert [act.everything for act in acts if isinstance(act, Control)] == [False, True]
    assert cq("halt", "--everything", "--json").json["stage"] == "holding"


def test_a_flatten_follows_the_halt_and_says_what_is_left(
    world: World, cq: Cq, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cq("halt", "--flatten", "--json").json["left"] == ""
    written = in_the_end(world, lambda bus: bus.read_range(world.keys.control))
    acts = [decode_fields(entry.fields).message for entry in written]
    assert [act.action for act in acts if isinstance(act, Control)] == [ControlAction.HALT, ControlAction.FLATTEN]
    world.fill(1, 1)
    world.fill(2, 2, strategy="manual")
    monkeypatch.setattr("copilot_quant.cli.control.FLATTEN_LIMIT_NS", 0)
    done = cq("halt", "--flatten")
    assert "left of strategies: 100 #265598 of momentum" in done.out and "manual" not in done.out


def test_a_halt_that_nobody_confirms_is_no_halt(world: World, cq: Cq, monkeypatch: pytest.MonkeyPatch) -> None:
    world.has_gateway = False
    monkeypatch.setitem(Desk.wait_halt_stage.__kwdefaults__ or {}, "limit_s", 0.1)
    done = cq("halt")
    assert done.status == 75 and "no gateway confirmed" in done.err


def test_a_halt_without_redis_and_without_a_guard_says_where_to_halt(world: World, cq: Cq) -> None:
    world.is_away = True
    done = cq("halt")
    assert done.status == 69 and "halt at the guard's machine, or in TWS itself" in done.err


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, str]]]]:
    """What a guard on this machine was told."""
    told: list[tuple[str, dict[str, str]]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    running = RunningSystem(1, "", "sim", "", "", address, {})
    monkeypatch.setattr("copilot_quant.cli.control.running_system", lambda: running)
    yield told
    server.shutdown()
    server.server_close()


def test_without_redis_a_halt_goes_to_the_guard_of_one_contract_by_its_id(
    world: World, cq: Cq, guard: list[tuple[str, dict[str, str]]]
) -> None:
    world.is_away = True
    assert cq("halt", "-r", "odd", "--json").json == {"stage": "holding", "by": "guard"}
    done = cq("halt", "-r", "odd", "--contract", "#265598", "--json")
    assert done.json == {"scope": "contract:265598", "halted": True} and "held by the guard alone" in done.err
    who = getpass.getuser()
    assert guard == [
        ("/halt", {"reason": "odd", "who": who}),
        ("/halt/contract", {"reason": "odd", "who": who, "con_id": "265598"}),
    ]


@pytest.mark.parametrize("words", [("--contract", "AAPL"), ("--contract", "#0"), ("--strategy", "momentum")], ids=str)
def test_without_redis_the_guard_is_told_of_no_name(
    world: World, cq: Cq, guard: list[tuple[str, dict[str, str]]], words: tuple[str, str]
) -> None:
    world.is_away = True
    assert cq("halt", *words).status != 0 and cq("resume", "-r", "x", "--contract", "#265598").status == 69
    assert not guard


def test_a_resume_needs_a_reason(world: World, cq: Cq) -> None:
    assert cq("resume").status == 64 and cq("resume", "--reason", " ").status == 64
    assert not world.heard_of(Control)
    done = cq("resume", "--reason", "looked at it")
    assert done.status == 0 and "trading again: looked at it" in done.out
    assert world.heard_of(Control)[0].action is ControlAction.RESUME


@pytest.mark.parametrize("answer, status", [("U7654321\n", 0), ("U0000000\n", 77), ("y\n", 77)])
def test_in_live_a_resume_shows_what_is_at_stake_and_asks_for_the_account(
    world: World, cq: Cq, answer: str, status: int
) -> None:
    live = World(Mode.LIVE)
    world.mode, world.keys, world.bus = live.mode, live.keys, live.bus
    world.hold(a_position())
    done = cq("resume", "--reason", "x", stdin=answer)
    assert "LIVE account U7654321, 1 positions worth about 15,125.00 USD, 0 working orders" in done.out
    assert done.status == status and bool(world.heard_of(Control)) is (status == 0)


def test_in_live_a_script_says_yes(world: World, cq: Cq) -> None:
    live = World(Mode.LIVE)
    world.mode, world.keys, world.bus = live.mode, live.keys, live.bus
    assert cq("resume", "--reason", "x", "--yes", "--json").json["stage"] == "none"


@pytest.mark.parametrize("words", [(), ("--strategy", "momentum"), ("--contract", "AAPL")], ids=str)
@pytest.mark.parametrize("answer, status", [("paper\n", 0), ("DU1234567\n", 77), ("y\n", 77)])
def test_at_a_terminal_a_resume_asks_for_the_deployments_name(
    world: World, cq: Cq, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], answer: str, status: int
) -> None:
    monkeypatch.setattr("copilot_quant.cli.control._halted_in_risk", _not_halted)
    paper = World(Mode.PAPER)
    world.mode, world.keys, world.bus = paper.mode, paper.keys, paper.bus
    world.hold(a_position())
    done = cq("resume", *words, "--reason", "x", stdin=answer, at_terminal=True)
    asked = (
        "PAPER account DU1234567, 1 positions worth about 15,125.00 USD, 0 working orders: type paper to trade again"
    )
    assert asked in done.out
    written = in_the_end(world, lambda bus: bus.read_range(world.keys.control))
    assert done.status == status and len(written) == (status == 0)


async def _not_halted(_: Desk, __: str) -> bool:
    return False


def test_at_a_terminal_yes_stands_for_the_word_and_json_stays_alone(world: World, cq: Cq) -> None:
    assert cq("resume", "--reason", "x", "--yes", at_terminal=True).out == "trading again: x\n"
    done = cq("resume", "--reason", "x", "--json", stdin="sim\n", at_terminal=True)
    assert done.json["stage"] == "none" and "type sim to trade again" in done.err


def test_kill_is_another_name_of_halt(world: World, cq: Cq) -> None:
    assert cq("kill", "--json").json["stage"] == "holding"


@pytest.mark.parametrize(
    "words, scope", [(("--strategy", "momentum"), "strategy:momentum"), (("--contract", "AAPL"), "contract:265598")]
)
def test_one_strategy_or_contract_is_halted_once_the_gateway_says_so_and_resumed_once_risk_does_too(
    world: World, cq: Cq, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str], scope: str
) -> None:
    looks: list[str] = []

    async def heartbeats(_: Desk) -> list[dict[str, object]]:
        looks.append(scope)
        return [{"service": "risk", "instance": "r", "deciding": True, "halts": [scope] if len(looks) < 3 else []}]

    monkeypatch.setattr(Desk, "heartbeats", heartbeats)
    assert cq("halt", *words, "--json").json == {"scope": scope, "halted": True}
    assert cq("resume", *words, "--reason", "seen", "--json").json == {"scope": scope, "halted": False}
    assert [one.scope for one in world.heard_of(Control)] == [scope, scope] and len(looks) == 3


def test_a_halt_of_one_strategy_that_no_gateway_confirms_is_none(
    world: World, cq: Cq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copilot_quant.cli.control.SCOPE_LIMIT_NS", 0)
    done = cq("halt", "--strategy", "momentum")
    assert done.status == 75 and "no gateway confirmed" in done.err
    assert cq("halt", "--strategy", "momentum", "--flatten").status != 0
    assert cq("halt", "--strategy", "momentum", "--contract", "AAPL").status != 0
