"""Halt a busy system again and again, with parts of it dead, and let the broker's own books judge.

`python -m tests.chaos.halt_drill --drills 50` starts the whole local system (real processes, real Redis, the simulator
over TCP through the guard). Before each drill 200 orders work at the broker: entries of two strategies and stops that
protect (our trading client id), orders of another program (a client id of its own) and orders by hand. New intents keep
coming while the halt is asked for, as `cq halt` does it. Measured from the moment it is asked for: until the last order
that the broker accepted, until `holding` is confirmed, until the broker shows the last due cancel. What must stay
(stops, orders by hand, orders of other programs) is compared one by one.

The four kinds of drill take turns: everything alive, risk dead, the leading gateway killed in the middle, Redis killed
(and started again by its supervisor) in the middle. At the end a flatten closes what the strategies own. Exit status 0
only if nothing is wrong. What every run showed is added to `.cache/halt-drill.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
from ib_insync import IB, Contract, LimitOrder

from copilot_quant.desk import Desk, OrderTicket, open_desk
from copilot_quant.local.books import fetch_truth
from copilot_quant.local.system import LocalOptions, LocalSystem
from shared.errors import CqError, TransientError
from shared.messages.control import ControlAction
from shared.messages.market import ContractInfo
from shared.messages.orders import Side
from shared.settings import BrokerSettings, load_settings
from tests.chaos.waiting import until

KINDS = ("all alive", "risk dead", "gateway killed", "Redis killed")
NAMES = (
    "AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "META", "TSLA", "IBM", "SPY", "JPM", "QQQ", "AMD", "INTC", "NFLX", "BAC",
    "XOM", "KO", "DIS", "GE", "IWM",
)  # fmt: skip
ENTRIES, STOPS, BY_HAND, OTHERS = 130, 20, 20, 30
OTHER_CLIENT = 55
TOTALS = Path.cwd() / ".cache" / "halt-drill.json"
FLOOD_EVERY_S = 0.02
LIMITS = """
profile = "small-paper"
rules = 2
[limits]
strategy_rate_per_s = 1000
strategy_rate_burst = 1000
account_rate_per_s = 1000
account_rate_burst = 1000
messages_per_s_max = "unlimited"
open_orders_max = 1000
open_orders_side_max = 100
exposure_gross_max = 100000000
exposure_net_max = 100000000
position_notional_max = 100000000
strategy_position_notional_max = 100000000
turnover_day_max = "unlimited"
trades_day_max = "unlimited"
market_closed = "allow"
duplicates = "allow"
repeats = "allow"
daily_loss_max = "unlimited"
drawdown_max = "unlimited"
strategy_loss_max = "unlimited"
"""


@dataclass
class Drill:
    """What one drill showed; milliseconds from the moment the halt was asked for."""

    kind: str
    last_accepted_ms: float = 0.0
    holding_ms: float = 0.0
    cancelled_ms: float = 0.0
    due: int = 0
    accepted_after: int = 0
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    wrong: list[str] = field(default_factory=list)


class Drills:
    """A running system with the orders that the drills need."""

    def __init__(self, system: LocalSystem, desk: Desk) -> None:
        self.system = system
        self.desk = desk
        self.contracts: list[ContractInfo] = []
        self.prices: dict[int, Decimal] = {}
        self._other = IB()

    async def prepare(self) -> None:
        """Open positions with their stops, orders by hand and orders of another program; they stay for all drills."""
        await until("a READY gateway", 60.0, self._is_ready)
        await until("the first prices", 60.0, self._look_at_prices)
        for number in range(STOPS):
            contract = self.contracts[number % len(self.contracts)]
            bought = await self.desk.place(contract, OrderTicket(Side.BUY, Decimal(5), strategy="drill-a"))
            if bought.state != "filled":
                raise AssertionError(f"{contract.name} could not be bought: {bought}")
            stop = (self.prices[contract.con_id] * Decimal("0.8")).quantize(Decimal("0.01"))
            await self.desk.submit(contract, OrderTicket(Side.SELL, Decimal(5), stop_price=stop, strategy="drill-a"))
        async with aiohttp.ClientSession() as session:
            for number in range(BY_HAND):
                contract = self.contracts[number % len(self.contracts)]
                limit = str(self._far(contract))
                order = {"symbol": contract.symbol, "quantity": "3", "order_type": "LMT", "limit": limit}
                async with session.post(f"{self.system.simulator_http}/commands/manual_order", json=order) as reply:
                    if reply.status != 200:
                        raise AssertionError(await reply.text())
        await self._other.connectAsync("127.0.0.1", self.system.plan.broker_port, clientId=OTHER_CLIENT, timeout=10)
        for number in range(OTHERS):
            contract = self.contracts[number % len(self.contracts)]
            wire = Contract(conId=contract.con_id, exchange="SMART")
            self._other.placeOrder(wire, LimitOrder("BUY", 2, float(self._far(contract)), account=self.desk_account))
        await until("the orders that stay", 30.0, lambda: self._count(STOPS + BY_HAND + OTHERS))

    @property
    def desk_account(self) -> str:
        return self.system.options.account

    def close(self) -> None:
        """Leave the other program's session."""
        self._other.disconnect()

    def _far(self, contract: ContractInfo) -> Decimal:
        return (self.prices[contract.con_id] * Decimal("0.85")).quantize(Decimal("0.01"))

    async def _is_ready(self) -> bool:
        rows = await self.desk.heartbeats()
        return any(
            row["service"] == "gateway" and row.get("link") == "READY" and row.get("role") == "leader" for row in rows
        )

    async def _look_at_prices(self) -> bool:
        self.contracts = [await self.desk.resolve(name) for name in NAMES]
        for contract in self.contracts:
            await self.desk.watch(contract.con_id)
            last = await self.desk.last_price(contract.con_id)
            if not float(last.get("last") or 0):
                return False
            self.prices[contract.con_id] = Decimal(last["last"])
        return True

    async def _open(self) -> list[dict[str, Any]]:
        truth = await fetch_truth(self.system.simulator_http)
        ended = ("Filled", "Cancelled", "ApiCancelled", "Inactive", "Rejected")
        return [row for row in truth["orders"] if row["status"] not in ended]

    async def _count(self, wanted: int) -> bool:
        return len(await self._open()) >= wanted

    async def one(self, kind: str) -> Drill:
        """Fill the book, halt, judge, resume."""
        drill = Drill(kind)
        await self._fill()
        before = await self._open()
        entries = {row["perm_id"] for row in before if _is_entry(row)}
        stay = {row["perm_id"] for row in before} - entries
        drill.due = len(entries)
        if kind == "risk dead":
            await asyncio.to_thread(self.system.supervisor.stop_process, "risk")
        flood = asyncio.create_task(self._flood())
        await asyncio.sleep(0.3)
        leader = next(
            (r for r in await self.desk.heartbeats() if r.get("role") == "leader" and r["service"] == "gateway"), None
        )
        asked, asked_ns = time.monotonic(), time.time_ns()
        halting = asyncio.create_task(self._halt(kind, leader))
        try:
            drill.holding_ms = (await halting - asked) * 1000
            await until("the last due cancel", 90.0, self._entries_are_gone, every_s=0.01)
            drill.cancelled_ms = (time.monotonic() - asked) * 1000
        finally:
            flood.cancel()
            await asyncio.wait([flood])
        await asyncio.sleep(0.3)
        await self._judge(drill, stay, asked_ns)
        if kind == "risk dead":
            await asyncio.to_thread(self.system.supervisor.start_process, "risk")
        await until("a READY gateway", 60.0, self._is_ready)
        await until("the resume", 60.0, self._resume)
        return drill

    async def flatten(self) -> Drill:
        """Halt and flatten: what strategies own is closed, each stop with it; orders by hand and of others stay."""
        drill = Drill("flatten")
        before = {row["perm_id"] for row in await self._open() if not _is_ours(row)}
        asked = time.monotonic()
        drill.holding_ms = (await self._halt("flatten", None) - asked) * 1000
        await self.desk.control(ControlAction.FLATTEN, who="drill", reason="flatten")
        try:
            await until("the last close", 90.0, self._is_flat)
        except TimeoutError as e:
            drill.wrong.append(f"{e}: {await self.desk.owned_positions()}")
        drill.cancelled_ms = (time.monotonic() - asked) * 1000
        truth = await fetch_truth(self.system.simulator_http)
        held = truth["accounts"][self.desk_account]["positions"]
        drill.wrong += [f"{row['symbol']}: {row['quantity']} are left" for row in held.values()]
        still = {row["perm_id"] for row in await self._open()}
        drill.wrong += [f"order {perm_id} had to stay and is gone" for perm_id in sorted(before - still)]
        drill.wrong += [f"order {perm_id} had to go and is there" for perm_id in sorted(still - before)]
        return drill

    async def _is_flat(self) -> bool:
        return not await self.desk.owned_positions()

    async def _fill(self) -> None:
        """Submit entries until 200 orders work; some are refused while the system comes back from the last drill."""

        async def full() -> bool:
            missing = ENTRIES + STOPS + BY_HAND + OTHERS - len(await self._open())
            for number in range(missing):
                await self._enter(number)
            for _ in range(80):  # what was asked for shows within seconds, or was refused
                if await self._count(ENTRIES + STOPS + BY_HAND + OTHERS):
                    return True
                await asyncio.sleep(0.1)
            return False

        await until("200 working orders", 90.0, full)

    async def _enter(self, number: int) -> None:
        contract = self.contracts[number % len(self.contracts)]
        strategy = "drill-a" if number % 2 else "drill-b"
        ticket = OrderTicket(Side.BUY, Decimal(1), limit_price=self._far(contract), strategy=strategy)
        if number % len(self.contracts) == 0:
            for one in self.contracts:
                until_ns = str(time.time_ns() + 120 * 10**9)
                await self.desk.bus.hash_set(self.desk.keys.watches, {str(one.con_id): until_ns})
        await self.desk.submit(contract, ticket)

    async def _flood(self) -> None:
        number = 0
        while True:
            try:
                await self._enter(number)
            except CqError:
                pass
            number += 1
            await asyncio.sleep(FLOOD_EVERY_S)

    async def _halt(self, kind: str, leader: dict[str, Any] | None) -> float:
        """Halt as `cq halt` does, break what the drill breaks, and return when it was acknowledged."""
        try:
            act = await self.desk.control(ControlAction.HALT, who="drill", reason=kind)
            if kind == "gateway killed" and leader is not None:
                await asyncio.to_thread(self.system.supervisor.kill, leader["instance"])
            if kind == "Redis killed":
                await asyncio.to_thread(self.system.supervisor.kill, "redis")

            async def is_held() -> bool:
                status = await self.desk.halt_status()
                return status.get("control_id") == act.control_id and status.get("stage") in ("holding", "clean")

            deadline = time.monotonic() + 60.0
            while not await is_held():
                if time.monotonic() > deadline:
                    raise TimeoutError("the halt was not confirmed within 60 s")
                await asyncio.sleep(0.005)
        except TransientError:
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{self.system.guard_http}/halt", json={"reason": kind, "who": "drill"}) as reply,
            ):
                if reply.status != 200:
                    raise AssertionError(f"the guard answered {reply.status}: {await reply.text()}") from None
        return time.monotonic()

    async def _entries_are_gone(self) -> bool:
        return not any(_is_entry(row) for row in await self._open())

    async def _judge(self, drill: Drill, stay: set[int], asked_ns: int) -> None:
        offset_ns = await self._offset_ns()
        truth = await fetch_truth(self.system.simulator_http)
        late = [
            row["received_ns"] + offset_ns - asked_ns
            for row in truth["orders"]
            if _is_ours(row) and row["action"] == "BUY"
        ]
        after = [one for one in late if one > 0]
        drill.accepted_after = len(after)
        drill.last_accepted_ms = max(after, default=0) / 1e6
        still = {row["perm_id"] for row in await self._open()}
        drill.wrong += [f"order {perm_id} had to stay and is gone" for perm_id in sorted(stay - still)]
        drill.wrong += [f"order {perm_id} had to go and is there" for perm_id in sorted(still - stay)]
        if truth["orders_sent_twice"]:
            drill.wrong.append(f"sent twice: {truth['orders_sent_twice']}")

    async def _offset_ns(self) -> int:
        """Return how far the simulator's clock is behind ours: the least of several short answers."""
        found = []
        async with aiohttp.ClientSession() as session:
            for _ in range(10):
                async with session.get(f"{self.system.simulator_http}/truth?orders=no") as reply:
                    content = await reply.json()
                found.append(time.time_ns() - int(content["now_ns"]))
        return min(found)

    async def _resume(self) -> bool:
        await self.desk.control(ControlAction.RESUME, who="drill", reason="the drill is over")
        for _ in range(40):
            if (await self.desk.halt_status()).get("stage") == "none":
                return True
            await asyncio.sleep(0.05)
        return False


def _is_ours(row: dict[str, Any]) -> bool:
    return str(row["order_ref"]).startswith("cq")


def _is_entry(row: dict[str, Any]) -> bool:
    return _is_ours(row) and row["action"] == "BUY"


async def run(drills: int, *, keep: bool) -> list[Drill]:
    """Run the drills on a system of their own."""
    done: list[Drill] = []
    is_clean = False
    limits = Path.cwd() / ".cache" / "halt-drill.toml"
    limits.parent.mkdir(exist_ok=True)
    limits.write_text(LIMITS)
    strategies = limits.with_suffix(".strategies.toml")
    strategies.write_text("")
    options = LocalOptions(strategies_file=str(strategies), limits_file=str(limits), workers=1)
    system = LocalSystem(options, Path.cwd())
    try:
        await system.start(lambda line: print(line, file=sys.stderr, flush=True))
        os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
        async with open_desk(load_settings(BrokerSettings), client_name="cq-drill") as desk:
            scene = Drills(system, desk)
            await scene.prepare()
            for number in range(drills):
                drill = await scene.one(KINDS[number % len(KINDS)])
                done.append(drill)
                add_to_totals([drill])
                said = f"last accepted {drill.last_accepted_ms:.0f} ms, holding {drill.holding_ms:.0f} ms"
                print(
                    f"drill {number + 1} of {drills}, {drill.kind}: {said}, {drill.due} cancelled after "
                    f"{drill.cancelled_ms:.0f} ms{''.join(f'; {one}' for one in drill.wrong[:5])}",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
            done.append(await scene.flatten())
            add_to_totals(done[-1:])
            scene.close()
        is_clean = not any(drill.wrong for drill in done)
    finally:
        await asyncio.to_thread(lambda: system.stop(keep_files=keep or not is_clean))
        if not is_clean:
            print(f"logs are kept in {system.run_dir}", file=sys.stderr)
    return done


def add_to_totals(done: list[Drill]) -> None:
    """Keep what every run showed, with the machine's load."""
    known = json.loads(TOTALS.read_text()) if TOTALS.is_file() else []
    rows = [{**asdict(drill), "load": round(drill.load, 1)} for drill in done]
    TOTALS.write_text(json.dumps([*known, *rows], indent=1) + "\n")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--drills", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    done = asyncio.run(run(options.drills, keep=options.keep))
    wrong = [one for drill in done for one in drill.wrong]
    if options.json:
        print(json.dumps([asdict(drill) for drill in done], indent=1))
    else:
        print("| drill | ran | last order accepted, median and worst (ms) | holding (ms) | due cancels gone (ms) |")
        print("|---|---:|---|---|---|")
        for kind in (*KINDS, "flatten"):
            rows = [drill for drill in done if drill.kind == kind]
            if rows:
                columns = [
                    [getattr(row, name) for row in rows] for name in ("last_accepted_ms", "holding_ms", "cancelled_ms")
                ]
                texts = [f"{statistics.median(column):.0f}, {max(column):.0f}" for column in columns]
                print(f"| {kind} | {len(rows)} | {' | '.join(texts)} |")
        print(f"orders that had to go: {sum(drill.due for drill in done)}; wrong: {len(wrong)}")
        for line in wrong[:20]:
            print(f"  {line}")
    return 0 if done and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
