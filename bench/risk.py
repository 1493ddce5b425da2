"""Measure what one decision of risk costs: every rule on, 50 contracts, 20 strategies, 200 working orders.

Time of `decide` alone, right after decoding its intent as in the service, and CPU time of a price move, `decide`, the
reservation and its end, in one process, on a busy book: every contract has a position, four working orders and a moving
price, and half of the intents add exposure. Beside it, pass by pass in turn, nautilus_trader's RiskEngine is asked
about the same orders (`bench/nautilus_risk.py`): CPU time per order of ready orders, nothing changing between them; it
passes the command on that it was given, ours makes a decision and a command. Each rule's share is CPU time, measured
by asking it alone about the same cases; rules that the limits switch off are in the table too, but are not asked in
`decide`.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import cast

from bench.measuring import Row, percentile
from bench.risk_orders import CONTRACTS, INTENTS, STRATEGIES, WORKING, holder, orders
from services.risk.core.case import Case
from services.risk.core.decide import decide
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits
from services.risk.core.profiles import default_limits
from services.risk.core.rules import RULES
from shared.ids import exec_stem
from shared.messages.account import AccountSnapshot, AccountTag, PositionsComplete
from shared.messages.codec import decode_body, encode_body
from shared.messages.control import BrokerStatus, LinkState, Reconciled
from shared.messages.market import ContractInfo, PriceIncrement, TickKind
from shared.messages.orders import Fill, Intent, OrderEvent, OrderLeg, OrderState, OrderType, Side

NOW_NS = 1_700_000_000_000_000_000
ACCOUNT = "DUSIM0001"
ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".cache" / "peers"
PASSES = 20
INCARNATION = "bench:bench"


def busy_book() -> Book:
    """Return a book as a busy account has it, with a reconciled gateway."""
    book = Book(ACCOUNT, incarnation=INCARNATION, epoch=1)
    book.apply(Reconciled(instance="g", epoch=1, incarnation=INCARNATION), NOW_NS)
    book.apply(BrokerStatus(instance="g", state=LinkState.READY, is_leader=True, epoch=1), NOW_NS)
    worth = ("BuyingPower", "NetLiquidation", "TotalCashValue")
    tags = tuple(AccountTag(tag=tag, value="100000000", currency="USD") for tag in worth)
    book.apply(AccountSnapshot(account=ACCOUNT, currency="USD", values=tags), NOW_NS)
    book.apply(PositionsComplete(account=ACCOUNT), NOW_NS)
    book.breakers.set_stage("none", "")
    ladder = (PriceIncrement(low_edge=Decimal(0), increment=Decimal("0.01")),)
    for con_id in range(1, CONTRACTS + 1):
        info = ContractInfo(
            con_id=con_id, name=f"S{con_id}", symbol=f"S{con_id}", sec_type="STK", exchange="SMART", currency="USD",
            increments=ladder,
        )  # fmt: skip
        book.apply(info, NOW_NS)
        book.apply_tick(con_id, TickKind.QUOTE, 1, NOW_NS, 99.99, 100.01)
        stem, revision = exec_stem(f"{con_id:08x}.01.01")
        book.apply(
            Fill(
                exec_id=f"{con_id:08x}.01.01", exec_stem=stem, revision=revision, intent_id=f"{con_id:020d}",
                strategy=_strategy(holder(con_id)), account=ACCOUNT, con_id=con_id, side=Side.BUY,
                quantity=Decimal(100), price=Decimal(100),
            ),
            NOW_NS,
        )  # fmt: skip
    for number in range(WORKING):
        con_id = number % CONTRACTS + 1
        side = Side.BUY if number % 2 else Side.SELL
        book.apply(
            OrderEvent(
                intent_id=f"{1000 + number:020d}", state=OrderState.WORKING, strategy=_strategy(number),
                account=ACCOUNT, con_id=con_id, side=side, quantity=Decimal(10), order_type="LMT",
                limit_price=Decimal("99.50") if side is Side.BUY else Decimal("100.50"),
            ),
            NOW_NS,
        )  # fmt: skip
    return book


def wide_limits() -> Limits:
    """Return limits with every rule on, wide enough that none refuses: the longest way through all of them."""
    limits = default_limits()
    changes: dict[str, object] = {
        "exposure_gross_max": Decimal(10) ** 9, "exposure_net_max": Decimal(10) ** 9, "repeats_max": Decimal(10) ** 6,
        "concentration_percent": Decimal(100), "cash_min": Decimal(0), "turnover_day_max": Decimal(10) ** 12,
        "open_orders_max": Decimal(10) ** 6,
        "open_orders_side_max": Decimal(10) ** 6, "strategy_rate_per_s": Decimal(10) ** 6,
        "strategy_rate_burst": Decimal(10) ** 6, "account_rate_per_s": Decimal(10) ** 6,
        "account_rate_burst": Decimal(10) ** 6, "messages_per_s_max": Decimal(10) ** 6,
    }  # fmt: skip
    return replace(limits, base=replace(limits.base, **changes))  # type: ignore[arg-type]


def intents() -> list[Intent]:
    """Return intents for the orders that both gates are asked about."""
    made = []
    for number, asked in enumerate(orders()):
        leg = OrderLeg(
            side=Side.SELL if asked.is_exit else Side.BUY,
            quantity=Decimal(asked.quantity),
            order_type=OrderType.MARKET if asked.price is None else OrderType.LIMIT,
            limit_price=None if asked.price is None else Decimal(asked.price),
        )
        made.append(
            Intent(
                intent_id=f"{100_000 + number:020d}", legs=(leg,), con_id=asked.contract,
                strategy=_strategy(asked.strategy), account=ACCOUNT, incarnation=INCARNATION,
                valid_until_ns=NOW_NS + 10**12, ts_init_ns=NOW_NS,
            )
        )  # fmt: skip
    return made


def _strategy(number: int) -> str:
    return f"strategy{number % STRATEGIES}"


def _price_moves(book: Book, number: int) -> None:
    con_id = number % CONTRACTS + 1
    middle = 100 + number % 7 / 100
    book.apply_tick(con_id, TickKind.QUOTE, 1, NOW_NS, middle - 0.01, middle + 0.01)


def decide_times_us() -> tuple[list[float], list[float], int]:
    """Return microseconds per decision, of the clock and of CPU, and how many were approved.

    Each has one price move before it, and its intent is decoded right before, as in the service. CPU time is what it
    costs on a machine that does other things too; two readings of that clock cost some 0.5 us, which are in it.
    """
    book, limits, bodies = busy_book(), wide_limits(), [encode_body(intent) for intent in intents()]
    times, spent, approved = [], [], 0
    for body in bodies:  # limits are resolved at a strategy's first order in a contract
        decide(cast(Intent, decode_body(Intent.TYPE, body)), book, limits, NOW_NS)
    gc.collect()
    for number, body in enumerate(bodies):
        _price_moves(book, number)
        intent = cast(Intent, decode_body(Intent.TYPE, body))
        begun_cpu, begun = time.thread_time_ns(), time.perf_counter_ns()
        verdict = decide(intent, book, limits, NOW_NS)
        times.append((time.perf_counter_ns() - begun) / 1000)
        spent.append((time.thread_time_ns() - begun_cpu) / 1000)
        approved += verdict.command is not None
    return times, spent, approved


class Nautilus:
    """nautilus_trader's engine in a process of its own; one line in asks for one pass, one line out is its CPU time."""

    def __init__(self, *settings: str) -> None:
        command = [sys.executable, "-m", "bench.nautilus_risk", *settings]
        path = os.pathsep.join([str(PEERS / "nautilus_trader"), str(ROOT)])
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.pass_us()  # what is made at the first pass is not counted, as little as ours is

    def pass_us(self) -> float:
        """Return CPU microseconds per order of one pass."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise AssertionError("it was started with both")
        process.stdin.write("\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=10)


def beside_us(passes: int) -> tuple[float, ...] | None:
    """Return CPU per order of ours, of nautilus_trader's and the ratio, medians of passes in turn; None without it.

    Then both again of nautilus_trader's engine without least and largest quantities (`bench/nautilus_risk.py`).
    """
    if not (PEERS / "nautilus_trader" / ".complete").is_file():
        return None
    book, limits, asked = busy_book(), wide_limits(), intents()
    whole, unbounded = Nautilus(), Nautilus("unbounded")
    taken = []
    gc.collect()
    gc.disable()
    for number in range(passes + 1):
        begun = time.process_time_ns()
        for intent in asked:
            decide(intent, book, limits, NOW_NS)
        ours = (time.process_time_ns() - begun) / 1000 / len(asked)
        if number:  # limits are resolved in the first
            taken.append((ours, whole.pass_us(), unbounded.pass_us()))
    gc.enable()
    whole.close()
    unbounded.close()
    mine, first, second = (statistics.median(column) for column in zip(*taken, strict=True))
    ratios = [statistics.median(row[0] / row[other] for row in taken) for other in (1, 2)]
    return mine, first, ratios[0], second, ratios[1]


def whole_us() -> float:
    """Return CPU microseconds per intent of a price move, the decision, the reservation and its end, on average.

    Limits are resolved beforehand, as in the other rows; a millisecond passes from one to the next.
    """
    book, limits, asked = busy_book(), wide_limits(), intents()
    for intent in asked:
        decide(intent, book, limits, NOW_NS)
    gc.collect()
    begun = time.process_time_ns()
    for number, intent in enumerate(asked):
        now_ns = NOW_NS + number * 1_000_000
        _price_moves(book, number)
        verdict = decide(intent, book, limits, now_ns)
        if verdict.command is not None:
            book.reserve(intent, now_ns, verdict.rates)
            book.release(intent)
    return (time.process_time_ns() - begun) / 1000 / len(asked)


def rule_times_us() -> dict[str, float]:
    """Return CPU microseconds per rule: each asked alone about the same cases, those switched off by default too."""
    book, limits = busy_book(), wide_limits()
    book.advance(NOW_NS)
    cases = [Case(intent, book, limits, NOW_NS) for intent in intents()]
    found = {}
    gc.collect()
    gc.disable()
    for rule in RULES:
        check = rule.check
        begun = time.process_time_ns()
        for case in cases:
            check(case)
        found[rule.code] = (time.process_time_ns() - begun) / 1000 / len(cases)
    gc.enable()
    return found


def measure(rounds: int) -> tuple[list[Row], list[Row]]:
    """Return the rows of the whole decision, and one row per rule, a value per round."""
    median, tail = Row("risk: decide, p50", "us"), Row("risk: decide, p99", "us")
    tail_cpu = Row("risk: decide, p99 of CPU", "us")
    beside = [
        Row("risk: decide, mean CPU of ready intents", "us"),
        Row("nautilus_trader RiskEngine, the same", "us"),
        Row("risk: decide over nautilus_trader", "times"),
        Row("nautilus_trader RiskEngine, quantities without bounds", "us"),
        Row("risk: decide over nautilus_trader without bounds", "times"),
    ]
    whole = Row("risk: price, decide, reserve, release, mean CPU", "us")
    rules = {rule.code: Row(rule.code, "us") for rule in RULES}
    for _ in range(rounds):
        times, spent, approved = decide_times_us()
        if approved != INTENTS:
            raise AssertionError(f"{INTENTS - approved} of {INTENTS} intents were refused: this measures refusals")
        median.values.append(percentile(times, 0.5))
        tail.values.append(percentile(times, 0.99))
        tail_cpu.values.append(percentile(spent, 0.99))
        whole.values.append(whole_us())
        found = beside_us(PASSES)
        for row, value in zip(beside, found or (), strict=False):
            row.values.append(value)
        for code, cost in rule_times_us().items():
            rules[code].values.append(cost)
    rows = [median, tail, tail_cpu, whole, *(row for row in beside if row.values)]
    return rows, list(rules.values())
