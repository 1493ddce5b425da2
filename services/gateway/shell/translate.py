"""Turn the broker library's objects into our values, and our contracts into its fields; no library is imported here.

The library marks an unset double with the largest float and an unset int with 2^31 - 1.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.gateway.core.evidence import BrokerExecution, BrokerOrder, BrokerPosition, BrokerWhatIf
from shared.clock import NS_PER_S
from shared.contracts import ContractName
from shared.ids import ConId
from shared.messages.market import ContractInfo, PriceIncrement
from shared.messages.orders import Side
from shared.messages.requests import HistoryBar
from shared.money import ZERO, decimal_of

UNSET_DOUBLE = 1.7976931348623157e308
_STOP_TYPES = ("STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT")
_LIMIT_TYPES = ("LMT", "STP LMT", "TRAIL LIMIT", "LIT", "LOC", "REL")


def number(value: Any) -> Decimal | None:
    """Return a library number as Decimal, None if it is unset or no number."""
    if value is None or value == "":
        return None
    try:
        as_float = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(as_float) or abs(as_float) >= UNSET_DOUBLE:
        return None
    return plain(decimal_of(value))


def plain(value: Decimal) -> Decimal:
    """Return a Decimal without trailing zeros after the point, so that 100.0 is 100."""
    if value == value.to_integral_value():
        return value.quantize(Decimal(1))
    return value.normalize()


def side_of(action: str) -> Side:
    """Return the side of BUY, SELL, SSHORT, BOT or SLD."""
    return Side.BUY if action.upper() in ("BUY", "BOT") else Side.SELL


def name_of(contract: Any) -> str:
    """Return a contract's name in the grammar, as far as an order's or position's fields allow."""
    return str(grammar_name(contract))


def grammar_name(contract: Any, *, primary: str = "") -> ContractName:
    """Return the name of a library contract; kinds outside the grammar are named by conId."""
    kind, currency = contract.secType, contract.currency or "USD"
    listing = primary or contract.primaryExchange or ""
    route = contract.exchange if contract.exchange not in ("", "SMART") else ""
    if kind == "STK":
        return ContractName("STK", contract.symbol, "SMART", listing if listing != "SMART" else "", currency)
    if kind == "CASH":
        return ContractName("CASH", contract.symbol, "IDEALPRO", "", currency)
    if kind == "CRYPTO":
        return ContractName("CRYPTO", contract.symbol, route or listing or "PAXOS", "", currency)
    if kind == "IND":
        return ContractName("IND", contract.symbol, route or listing, "", currency)
    if kind == "FUT":
        day = contract.lastTradeDateOrContractMonth
        return ContractName("FUT", contract.symbol, route or listing, "", currency, day)
    if kind == "OPT":
        return ContractName(
            "OPT", contract.symbol, "SMART", "", currency, contract.lastTradeDateOrContractMonth,
            number(contract.strike), (contract.right or "")[:1],
        )  # fmt: skip
    return ContractName("", currency="", con_id=ConId(contract.conId))


def order_of(contract: Any, order: Any, state: Any, *, is_completed: bool, is_listed: bool) -> BrokerOrder:
    """Return an openOrder or completedOrder as our value."""
    kind = order.orderType
    limit = number(order.lmtPrice) if kind in _LIMIT_TYPES else None
    stop = number(order.auxPrice) if kind in _STOP_TYPES else None
    filled = number(getattr(order, "filledQuantity", None)) if is_completed else None
    return BrokerOrder(
        account=order.account, con_id=contract.conId, side=side_of(order.action),
        quantity=number(order.totalQuantity) or ZERO, order_type=kind, perm_id=order.permId,
        order_ref=order.orderRef or "", contract=name_of(contract), limit_price=limit, stop_price=stop,
        tif=order.tif or "DAY", outside_rth=bool(order.outsideRth), order_id=0 if is_completed else order.orderId,
        client_id=0 if is_completed else order.clientId, parent_id=0 if is_completed else order.parentId,
        status=state.status or getattr(state, "completedStatus", ""), filled=filled,
        text=getattr(state, "completedStatus", "") or getattr(state, "warningText", "") or "",
        is_completed=is_completed, is_listed=is_listed,
    )  # fmt: skip


def what_if_of(state: Any) -> BrokerWhatIf:
    """Return the order state of a what-if as our value."""
    return BrokerWhatIf(
        status=state.status or "",
        init_margin_before=number(state.initMarginBefore), init_margin_after=number(state.initMarginAfter),
        maint_margin_before=number(state.maintMarginBefore), maint_margin_after=number(state.maintMarginAfter),
        equity_with_loan_before=number(state.equityWithLoanBefore),
        equity_with_loan_after=number(state.equityWithLoanAfter),
        commission=number(state.commission), min_commission=number(state.minCommission),
        max_commission=number(state.maxCommission), commission_currency=state.commissionCurrency or "",
        warning=state.warningText or "",
    )  # fmt: skip


def execution_of(contract: Any, execution: Any) -> BrokerExecution:
    """Return an execDetails as our value; manual orders carry an unset order id (ib-facts A.5)."""
    order_id = execution.orderId if execution.orderId != 2**31 - 1 else 0
    moment = execution.time
    ts_ns = int(moment.timestamp()) * NS_PER_S if hasattr(moment, "timestamp") else 0
    return BrokerExecution(
        exec_id=execution.execId, account=execution.acctNumber, con_id=contract.conId, side=side_of(execution.side),
        shares=number(execution.shares) or ZERO, price=number(execution.price) or ZERO, ts_ns=ts_ns,
        perm_id=execution.permId, client_id=execution.clientId, order_id=order_id, order_ref=execution.orderRef or "",
        contract=name_of(contract), exchange=execution.exchange, currency=contract.currency or "USD",
        cumulative_quantity=number(execution.cumQty) or ZERO, average_price=number(execution.avgPrice) or ZERO,
        liquidity=execution.lastLiquidity or 0, is_liquidation=bool(execution.liquidation),
    )  # fmt: skip


def position_of(account: str, contract: Any, position: Any, average_cost: Any) -> BrokerPosition:
    """Return a position as our value."""
    return BrokerPosition(
        account=account, con_id=contract.conId, position=number(position) or ZERO,
        average_cost=number(average_cost) or ZERO, symbol=contract.symbol, currency=contract.currency,
        contract=name_of(contract),
    )  # fmt: skip


def info_of(details: Any, increments: tuple[PriceIncrement, ...] = ()) -> ContractInfo:
    """Return contract details as our message."""
    contract = details.contract
    return ContractInfo(
        con_id=contract.conId, name=str(grammar_name(contract)), symbol=contract.symbol, sec_type=contract.secType,
        exchange=contract.exchange, primary_exchange=contract.primaryExchange or "", currency=contract.currency,
        local_symbol=contract.localSymbol or "", trading_class=contract.tradingClass or "",
        expiry=contract.lastTradeDateOrContractMonth or "", strike=number(contract.strike) or None,
        right=(contract.right or "").strip("0?"), multiplier=number(contract.multiplier) or Decimal(1),
        price_magnifier=number(details.priceMagnifier) or Decimal(1),
        min_tick=number(details.minTick) or Decimal("0.01"),
        increments=increments, min_size=number(details.minSize) or Decimal(1),
        size_increment=number(details.sizeIncrement) or Decimal(1), long_name=details.longName or "",
        time_zone=details.timeZoneId or "", trading_hours=details.tradingHours or "",
        liquid_hours=details.liquidHours or "", order_types=details.orderTypes or "",
        valid_exchanges=details.validExchanges or "", under_con_id=details.underConId or 0,
    )  # fmt: skip


def rule_of(details: Any) -> int:
    """Return the market rule of the contract's own exchange, 0 for none; rules go along with validExchanges."""
    rules = (details.marketRuleIds or "").split(",")
    exchanges = (details.validExchanges or "").split(",")
    pairs = dict(zip(exchanges, rules, strict=False))
    text = pairs.get(details.contract.exchange) or rules[0]
    return int(text) if text.isdigit() else 0


def bar_of(bar: Any) -> HistoryBar:
    """Return a historical bar; the times are asked for as seconds, those of daily bars are dates."""
    text = str(bar.date)
    if len(text) == 8:
        moment = datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
        ts_ns = int(moment.timestamp()) * NS_PER_S
    else:
        ts_ns = int(text) * NS_PER_S
    return HistoryBar(
        ts_ns=ts_ns, open=decimal_of(bar.open), high=decimal_of(bar.high), low=decimal_of(bar.low),
        close=decimal_of(bar.close), volume=number(bar.volume) or ZERO if bar.volume >= 0 else ZERO,
        vwap=number(bar.average) if bar.average > 0 else None, count=max(0, bar.barCount),
    )  # fmt: skip
