"""Rules on the market: is it open, are its quotes sane, what would a market order cost, does the contract end soon."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from services.risk.core.case import Case
from services.risk.core.hours import Spans, is_closed, spans_of
from services.risk.core.limits import LimitSet
from services.risk.core.quotes import FROZEN
from services.risk.core.rule import FOREVER_NS, Finding, Rule, Scope, plain
from shared.messages.market import ContractInfo
from shared.messages.orders import Side

Hours = tuple[Spans, int]
_NS_PER_S = 1_000_000_000
_MINUTE_NS = 60 * _NS_PER_S
_DAY_NS = 86_400 * _NS_PER_S
_EXPIRES = ("FUT", "OPT", "FOP")
"""Contracts that certainly end."""


class MarketSlippage(Rule):
    """A market or stop order must not cost more against the middle of the quote than a limit, at once."""

    code = "RISK_MARKET_SLIPPAGE"
    scope = Scope.ORDER
    limit_name = "market_slippage_percent"
    citation = "RTS 6 article 15(1)(a); FIA: market order price tolerance; CME protection points"
    since = 2

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.market_slippage_percent is not None

    def check(self, case: Case) -> Finding | None:
        """Compare the far side of the quote with its middle, for what takes it."""
        limit, quote = case.limits.market_slippage_percent, case.contract.quote
        for leg in case.intent.legs:
            if leg.limit_price is not None or not quote.bid or not quote.ask:
                continue
            middle = (quote.bid + quote.ask) / 2
            cost = (quote.ask - middle if leg.side is Side.BUY else middle - quote.bid) * 100 / middle
            if limit is not None and cost > limit:
                return Finding(
                    f"leg {leg.leg}: an order at the market would cost {cost:.2f} % against the middle of the quote; "
                    f"{plain(limit)} % is allowed",
                    f"{plain(limit)} %",
                    f"{cost:.2f} %",
                )
        return None


class QuoteCrossed(Rule):
    """A quote whose bid is above its ask is no price to trade on."""

    code = "RISK_QUOTE_CROSSED"
    scope = Scope.CONTRACT
    limit_name = "crossed_quotes"
    citation = "FIA: market data reasonability"
    since = 2
    is_for_trouble = True

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether crossed quotes matter."""
        return limits.crossed_quotes != "allow"

    def check(self, case: Case) -> Finding | None:
        """Compare bid and ask."""
        quote = case.contract.quote
        if not quote.ask or quote.bid <= quote.ask:
            return None
        return Finding(
            f"the quote is crossed: bid {quote.bid:g} above ask {quote.ask:g}",
            "bid <= ask",
            f"{quote.bid:g} > {quote.ask:g}",
            case.limits.crossed_quotes == "warn",
        )


class DataFrozen(Rule):
    """Frozen prices are those of a market that closed: they warn or refuse, as the limits say."""

    code = "RISK_DATA_FROZEN"
    scope = Scope.CONTRACT
    limit_name = "frozen_data"
    citation = "TWS API: market data types"
    since = 2
    is_for_trouble = True

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether frozen data matter."""
        return limits.frozen_data != "allow"

    def check(self, case: Case) -> Finding | None:
        """Look at the kind of data the last tick was."""
        if case.contract.quote.quality not in FROZEN:
            return None
        choice = case.limits.frozen_data
        text = "prices of this contract are frozen, as at the market's close"
        return Finding(text, choice, "frozen", choice == "warn")


class MarketClosed(Rule):
    """Outside a contract's hours (regular ones, or all where an order may work outside) orders warn or are refused."""

    code = "RISK_MARKET_CLOSED"
    scope = Scope.CONTRACT
    limit_name = "market_closed"
    citation = "SEC 15c3-5(c)(2)(i)"
    since = 2
    is_about_terms = True

    def __init__(self) -> None:
        self._spans: dict[int, tuple[ContractInfo, tuple[Hours, Hours]]] = {}

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether hours matter."""
        return limits.market_closed != "allow"

    def check(self, case: Case) -> Finding | None:
        """Look the moment up in the hours that the broker gives with the contract."""
        info = case.contract.info
        if info is None or not info.time_zone:
            return None
        outside = all(leg.outside_rth for leg in case.intent.legs)
        spans, listed_to = self._hours(info)[outside]
        if not is_closed(spans, listed_to, case.now_ns):
            return None
        choice = case.limits.market_closed
        kind = "trading" if outside else "regular trading"
        return Finding(f"the market of {info.name} is outside its {kind} hours", choice, "closed", choice == "warn")

    def silent_until_ns(self, case: Case) -> int:
        """Return when the hours known now change next."""
        info = case.contract.info
        if info is None or not info.time_zone:
            return FOREVER_NS
        spans, listed_to = self._hours(info)[False]
        edges = [listed_to, *(edge for span in spans for edge in span)]
        return min([edge for edge in edges if edge > case.now_ns], default=FOREVER_NS)

    def _hours(self, info: ContractInfo) -> tuple[Hours, Hours]:
        """Return regular and all hours, read once per definition."""
        known = self._spans.get(info.con_id)
        if known is None or known[0] is not info:
            regular = spans_of(info.liquid_hours or info.trading_hours, info.time_zone)
            whole = spans_of(info.trading_hours or info.liquid_hours, info.time_zone)
            known = self._spans[info.con_id] = (info, (regular, whole))
        return known[1]


class BrokerWindow(Rule):
    """In the broker's own maintenance windows nothing new is sent, since nobody could tell what became of it."""

    code = "RISK_BROKER_WINDOW"
    scope = Scope.SYSTEM
    limit_name = "broker_windows"
    citation = "docs/architecture.md, known windows of the broker; IB: nightly reset times"
    since = 2
    is_about_terms = True

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether windows are set."""
        return bool(limits.broker_windows)

    def silent_until_ns(self, case: Case) -> int:
        """Return when the minute is over: windows begin and end at whole ones."""
        return case.now_ns - case.now_ns % _MINUTE_NS + _MINUTE_NS

    def check(self, case: Case) -> Finding | None:
        """Look the moment up in the windows."""
        for window in case.limits.broker_windows:
            if window.holds(case.now_ns):
                return Finding(f"the broker's window {window} is on: orders are not sent now", str(window), "now")
        return None


class NearExpiry(Rule):
    """No new exposure within some days of a contract's last trading day, or of the first notice day the limits name."""

    code = "RISK_NEAR_EXPIRY"
    scope = Scope.CONTRACT
    limit_name = "expiry_days_min"
    citation = "FIA: product expiry; delivery and assignment are the broker's to carry out, and it names no notice day"
    since = 2
    is_about_terms = True

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.expiry_days_min is not None or limits.first_notice is not None

    def silent_until_ns(self, case: Case) -> int:
        """Return when the day is over."""
        return case.now_ns - case.now_ns % _DAY_NS + _DAY_NS

    def check(self, case: Case) -> Finding | None:
        """Compare the days left with the limit; without one, a notice day itself is too late."""
        info, limit, notice = case.contract.info, case.limits.expiry_days_min, case.limits.first_notice
        if info is None:
            return None
        ends = []
        if limit is not None:
            last = _last_day(info)
            if last is not None:
                ends.append((last, "expires"))
            elif info.sec_type in _EXPIRES:
                return Finding(f"{info.name} expires on no known day: {info.expiry!r}", plain(limit), "unknown")
        if notice is not None:
            ends.append((notice, "has its first notice day"))
        if not ends:
            return None
        end, what = min(ends)
        days = Decimal(1) if limit is None else limit
        left = (end - datetime.fromtimestamp(case.now_ns // _NS_PER_S, UTC).date()).days
        if left >= days:
            return None
        text = f"{info.name} {what} in {left} days ({end.isoformat()}); {plain(days)} must be left"
        return Finding(text, plain(days), str(left))


def _last_day(info: ContractInfo) -> date | None:
    """Return a contract's last trading day; where only its month is known, the month's first. None: not known."""
    text = info.expiry[:8] if len(info.expiry) >= 8 else f"{info.expiry}01"
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
