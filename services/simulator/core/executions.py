"""Remember executions and answer who may see which.

Invariants:
1. An execId is used once; a correction has the same stem and a higher number after the last period.
2. An answer shows executions since midnight of the TWS zone (of several days where TWS is set so), of the asking
   client only, unless that is the master.

Source: ib-facts A.3, A.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from services.simulator.core.times import day_text, midnight_ns, parse_tws_time, zoned_text
from shared.tws.contract import TwsContract
from shared.tws.requests import ReqExecutions
from shared.tws.responses import CommissionReport, ExecDetails

_DAY_NS = 86_400 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Execution:
    """A trade of one of our orders; `realized` is None if it only opened a position."""

    exec_id: str
    ts_ns: int
    perm_id: int
    client_id: int
    order_id: int
    order_ref: str
    account: str
    contract: TwsContract
    exchange: str
    side: int
    shares: Decimal
    price: Decimal
    cum_qty: Decimal
    avg_price: Decimal
    liquidity: int
    commission: Decimal
    currency: str
    realized: Decimal | None
    is_manual: bool = False
    is_liquidation: bool = False

    def details(self, req_id: int, zone: str, *, zone_name: bool) -> ExecDetails:
        """Return message 11."""
        return ExecDetails(
            req_id=req_id,
            order_id=None if self.is_manual and not self.order_id else self.order_id,
            contract=self.contract,
            exec_id=self.exec_id,
            time=zoned_text(self.ts_ns, zone, with_name=zone_name),
            account=self.account,
            exchange=self.exchange,
            side="BOT" if self.side > 0 else "SLD",
            shares=self.shares,
            price=float(self.price),
            perm_id=self.perm_id,
            client_id=self.client_id,
            liquidation=int(self.is_liquidation),
            cum_qty=self.cum_qty,
            avg_price=float(round(self.avg_price, 8)),
            order_ref=self.order_ref,
            last_liquidity=self.liquidity,
        )

    @property
    def has_report(self) -> bool:
        """Return whether a commission is reported: for a combination those of its legs are."""
        return self.contract.sec_type != "BAG"

    def report(self) -> CommissionReport:
        """Return message 59."""
        return CommissionReport(self.exec_id, self.commission, self.currency, self.realized)


class Executions:
    """All executions of the exchange, oldest first."""

    def __init__(self) -> None:
        self.all: list[Execution] = []
        self._number = 0

    def next_exec_id(self) -> str:
        """Return a fresh execId of four segments."""
        self._number += 1
        return f"0000e1a7.{0x5C000000 + self._number:08x}.01.01"

    def add(self, execution: Execution) -> None:
        """Remember an execution."""
        self.all.append(execution)

    def restore(self, execution: Execution) -> None:
        """Take back a stored execution."""
        self.all.append(execution)
        self._number = max(self._number, int(execution.exec_id.split(".")[1], 16) - 0x5C000000)

    def current(self) -> list[Execution]:
        """Return the executions that no correction has replaced, oldest first."""
        latest = {each.exec_id.rpartition(".")[0]: each.exec_id for each in self.all}
        kept = set(latest.values())
        return [each for each in self.all if each.exec_id in kept]

    def find(
        self, asked: ReqExecutions, client_id: int, now_ns: int, zone: str, *, sees_all: bool, days: int = 1
    ) -> list[Execution]:
        """Return the executions that answer a request, of at most the last `days` days of the zone.

        Raises:
            ValueError: the filter's time cannot be read.
        """
        wanted = days if asked.last_n_days is None else max(1, min(days, asked.last_n_days))
        # Noon, since a day may have 23 or 25 hours.
        first_ns = midnight_ns(midnight_ns(now_ns, zone) + (1 - wanted) * _DAY_NS + _DAY_NS // 2, zone)
        since_ns = max(first_ns, parse_tws_time(asked.time, zone) or 0)
        dates = {str(date) for date in asked.specific_dates}
        return [
            each
            for each in self.all
            if each.ts_ns >= since_ns
            and (not dates or day_text(each.ts_ns, zone) in dates)
            and (sees_all or each.client_id == client_id or (client_id == 0 and each.is_manual))
            and _matches(each, asked)
        ]


def _matches(execution: Execution, asked: ReqExecutions) -> bool:
    side = {"BUY": 1, "BOT": 1, "SELL": -1, "SLD": -1}.get(asked.side.upper())
    return (
        (not asked.client_id or asked.client_id == execution.client_id)
        and (not asked.account or asked.account == execution.account)
        and (not asked.symbol or asked.symbol == execution.contract.symbol)
        and (not asked.sec_type or asked.sec_type == execution.contract.sec_type)
        and (not asked.exchange or asked.exchange in (execution.exchange, execution.contract.exchange))
        and (side is None or side == execution.side)
    )
