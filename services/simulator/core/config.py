"""State how this exchange behaves: every switch that a test or a user may want to turn."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from services.simulator.core.matching import KIND, Model


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """Behaviour of one exchange.

    Attributes:
        accounts: the login's accounts.
        seed: of prices and sizes.
        cash: starting money of each account, in US dollars.
        tick_rate: market events per second and watched instrument.
        time_zone: TWS' zone: execution times, midnight of "today".
        ack_delay_ns: from receipt of an order or cancel until the exchange has it.
        fill_delay_ns: from the exchange having an order until its first fill.
        max_version: highest server version offered (176 suits every client).
        master_client_id: the client that also sees the orders of all others, or None.
        read_only: refuse orders as TWS' read-only API switch does.
        data_permission: "live", "delayed" (only on request, after 354) or "none".
        pacing: what happens above 50 messages a second: "off", "delay" or "reject" (error 100).
        market_data_lines: contracts that may be subscribed at once; more get error 101.
        max_orders_per_side: working orders per contract, side and account; more get error 201.
        open_orders_on_connect: send own open orders unasked after the start, as a TWS setting does.
        reduces_children: whether a parent that is cancelled partly filled reduces its children to what it filled and
            an unfilled one takes them along; else they work on as they were sent, for programs to see to.
        completed_orders_for_all: whether reqCompletedOrders shows other clients' orders.
        deltaneutral_none: write "None" where TWS does (8 more fields in openOrder).
        execution_zone_name: write the zone name behind execution times (TWS of 2025), else none (2023).
        model: how the market treats our orders: participation, slippage, depth.
        commissions: "fixed" or "tiered", IB's two price lists.
        commission_rate: this fraction of a trade's value instead of a price list.
        precaution_percent: limit prices further from the market get error 163; 0 is off.
        precaution_size: larger orders get error 383; 0 is off.
        history_pacing: refuse historical requests above 60 in ten minutes with error 162, five-second bars with 420.
        is_advisor: whether the login is a financial advisor's, with groups and aliases.
        execution_days: how far back reqExecutions goes: 1 as at IB Gateway, up to 7 as TWS' trade log may be set.
        snapshot_ns: from a snapshot's request to its end if everything is known by then, else TWS' 11 seconds.
    """

    accounts: tuple[str, ...] = ("DUSIM0001",)
    seed: int = 7
    cash: Decimal = Decimal(1_000_000)
    tick_rate: float = 5.0
    time_zone: str = "America/New_York"
    ack_delay_ns: int = 5_000_000
    fill_delay_ns: int = 5_000_000
    max_version: int = 176
    master_client_id: int | None = None
    read_only: bool = False
    data_permission: str = "live"
    pacing: str = "delay"
    messages_per_second: int = 50
    market_data_lines: int = 100
    max_orders_per_side: int = 15
    open_orders_on_connect: bool = False
    reduces_children: bool = True
    completed_orders_for_all: bool = False
    deltaneutral_none: bool = True
    execution_zone_name: bool = True
    history_pacing: bool = True
    snapshot_ns: int = 250_000_000
    execution_days: int = 1
    max_clients: int = 32
    summary_period_ns: int = 180_000_000_000
    pnl_period_ns: int = 1_000_000_000
    currency: str = "USD"
    model: Model = KIND
    commissions: str = "fixed"
    commission_rate: Decimal | None = None
    precaution_percent: float = 0.0
    precaution_size: int = 0
    is_advisor: bool = False
