"""Name an account's state with the tags that TWS sends.

Source: the tags of TWS account updates as ib_insync and the IB documentation list them.
"""

from __future__ import annotations

from decimal import Decimal

from services.simulator.core.account import ZERO, Account, CurrencyPart, Marks, Rates, Summary, money

Value = tuple[str, str, str]
"""Tag, value, currency."""
SUMMARY_TAGS = (
    "AccountType", "Cushion", "LookAheadNextChange", "AccruedCash", "AvailableFunds", "BuyingPower",
    "EquityWithLoanValue", "ExcessLiquidity", "FullAvailableFunds", "FullExcessLiquidity", "FullInitMarginReq",
    "FullMaintMarginReq", "GrossPositionValue", "InitMarginReq", "LookAheadAvailableFunds", "LookAheadExcessLiquidity",
    "LookAheadInitMarginReq", "LookAheadMaintMarginReq", "MaintMarginReq", "NetLiquidation",
    "PreviousDayEquityWithLoanValue", "RegTEquity", "RegTMargin", "SMA", "TotalCashValue", "Leverage", "SettledCash",
    "DayTradesRemaining", "HighestSeverity", "Currency",
)  # fmt: skip


def base_values(account: Account, summary: Summary) -> list[Value]:
    """Return the values of the whole account in its base currency."""
    base = account.base
    net = summary.net_liquidation
    cushion = summary.excess_liquidity / net if net > 0 else ZERO
    leverage = summary.gross_position_value / net if net > 0 else ZERO
    amounts: list[tuple[str, Decimal]] = [
        ("NetLiquidation", net),
        ("TotalCashValue", summary.total_cash),
        ("SettledCash", summary.total_cash),
        ("AccruedCash", ZERO),
        ("AccruedDividend", account.accrued_dividend),
        ("BuyingPower", summary.buying_power),
        ("EquityWithLoanValue", summary.equity_with_loan),
        ("PreviousDayEquityWithLoanValue", account.previous_equity),
        ("GrossPositionValue", summary.gross_position_value),
        ("RegTEquity", summary.equity_with_loan),
        ("RegTMargin", summary.regt_margin),
        ("SMA", max(ZERO, summary.equity_with_loan - summary.regt_margin)),
        ("InitMarginReq", summary.initial_margin),
        ("MaintMarginReq", summary.maintenance_margin),
        ("AvailableFunds", summary.available_funds),
        ("ExcessLiquidity", summary.excess_liquidity),
        ("FullInitMarginReq", summary.initial_margin),
        ("FullMaintMarginReq", summary.maintenance_margin),
        ("FullAvailableFunds", summary.available_funds),
        ("FullExcessLiquidity", summary.excess_liquidity),
        ("LookAheadInitMarginReq", summary.initial_margin),
        ("LookAheadMaintMarginReq", summary.maintenance_margin),
        ("LookAheadAvailableFunds", summary.available_funds),
        ("LookAheadExcessLiquidity", summary.excess_liquidity),
    ]
    values: list[Value] = [
        ("AccountCode", account.name, ""),
        ("AccountReady", "true", ""),
        ("AccountType", "INDIVIDUAL", ""),
        ("Cushion", f"{cushion:.6f}", ""),
        ("DayTradesRemaining", "-1", ""),
        ("HighestSeverity", "0", ""),
        ("Leverage", f"{leverage:.2f}", ""),
        ("LookAheadNextChange", "0", ""),
    ]
    values.extend((tag, money(amount), base) for tag, amount in amounts)
    return values


def currency_values(account: Account, summary: Summary, rates: Rates, marks: Marks) -> list[Value]:
    """Return the values per currency, `BASE` first."""
    parts = account.by_currency(marks)
    future = summary.net_liquidation - summary.total_cash - summary.stock_value - summary.option_value
    everything = CurrencyPart(summary.stock_value, summary.option_value, future, summary.unrealized, summary.realized)
    values = _of_currency("BASE", account.base, summary.total_cash, everything, Decimal(1), summary.net_liquidation)
    for currency, part in parts.items():
        cash = account.cash.get(currency, ZERO)
        net = cash + part.stock + part.option + part.future
        values += _of_currency(currency, currency, cash, part, rates(currency), net)
    return values


def _of_currency(
    currency: str, real: str, cash: Decimal, part: CurrencyPart, rate: Decimal, net: Decimal
) -> list[Value]:
    return [
        ("Currency", currency, currency),
        ("CashBalance", money(cash), currency),
        ("TotalCashBalance", money(cash), currency),
        ("StockMarketValue", money(part.stock), currency),
        ("OptionMarketValue", money(part.option), currency),
        ("FuturesPNL", money(part.future), currency),
        ("NetLiquidationByCurrency", money(net), currency),
        ("UnrealizedPnL", money(part.unrealized), currency),
        ("RealizedPnL", money(part.realized), currency),
        ("ExchangeRate", f"{rate:.6f}", currency),
        ("RealCurrency", real, currency),
    ]
