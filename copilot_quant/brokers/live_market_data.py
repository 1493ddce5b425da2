"""The guide's `IBKRLiveDataFeed`: prices and historical bars through the running system, within IB's pacing.

```python
feed = IBKRLiveDataFeed(paper_trading=True)
feed.connect()
feed.subscribe(["AAPL", "MSFT"])
print(feed.get_latest_price("AAPL"), len(feed.get_historical_bars("AAPL", "1 M", "1 day")))
```

1. Asking for prices costs one market data line per contract in the whole system, however many ask.
2. A price is one that came since the contract was subscribed here; nothing old is shown as the latest.
3. Historical bars are paced and cached by the system: sleeps between requests do no harm and are not needed.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from copilot_quant.access import Joined, open_access
from copilot_quant.background import BACKGROUND
from copilot_quant.desk import FRESH_S, WATCH_S, Desk
from copilot_quant.frames import bars_frame
from copilot_quant.front_settings import sentence
from shared.bar_sizes import parse_bar_size, parse_span_s
from shared.clock import NS_PER_S, SYSTEM_CLOCK, parse_iso_utc
from shared.errors import BadInput, BusUnavailable, CqError
from shared.messages.market import ContractInfo

log = logging.getLogger("copilot_quant.data")
PriceCallback = Callable[[str, float, dict[str, float]], object]
FIRST_PRICE_S = 5.0
HISTORY_LIMIT_S = 120.0
LOOK_EVERY_S = 0.1
RENEW_S = WATCH_S / 3
NUMBERS = ("bid", "bid_size", "ask", "ask_size", "last", "last_size")


class IBKRLiveDataFeed(Joined):
    """Prices and bars; with no system running, `connect` starts one and says so.

    Args:
        paper_trading: data of the paper login; False: of the live one.
    """

    def __init__(self, paper_trading: bool = True) -> None:  # noqa: FBT001, FBT002 - the guide's signature
        self.paper_trading = paper_trading
        super().__init__()
        self._watching: concurrent.futures.Future[None] | None = None
        self._subscribed: dict[str, tuple[ContractInfo, int]] = {}
        self._latest: dict[str, dict[str, float]] = {}
        self._callbacks: dict[str, list[PriceCallback]] = {}

    def connect(self) -> bool:
        """Find the system of this directory, or start one; say whether it worked."""
        try:
            self._access = open_access(paper_trading=self.paper_trading)
        except (CqError, OSError) as e:
            self.last_error = sentence(e)
            log.error("not connected: %s", self.last_error)  # noqa: TRY400 - a sentence, no traceback
            return False
        self.last_error = ""
        return True

    def disconnect(self) -> None:
        """Forget every subscription and let go of the system."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
        self._subscribed.clear()
        self._latest.clear()
        self._callbacks.clear()
        self._access = None

    # -- prices

    def subscribe(self, symbols: str | Iterable[str], callback: PriceCallback | None = None) -> dict[str, bool]:
        """Ask for the prices of contracts; return for each whether it exists.

        Args:
            symbols: one or several.
            callback: called with symbol, latest price and the quote's numbers when they changed.
        """
        names = [symbols] if isinstance(symbols, str) else list(symbols)
        found: dict[str, bool] = {}
        for name in names:
            try:
                self._subscribe(name)
            except BadInput as e:
                log.error("not subscribed: %s", sentence(e))  # noqa: TRY400 - a sentence, no traceback
                found[name] = False
                continue
            if callback is not None:
                self._callbacks.setdefault(name, []).append(callback)
            found[name] = True
        return found

    def _subscribe(self, symbol: str) -> None:
        access = self.access
        if symbol not in self._subscribed:
            info = access.run(access.desk.resolve(symbol), limit_s=10.0)
            self._subscribed[symbol] = info, SYSTEM_CLOCK.wall_ns() - FRESH_S * NS_PER_S
            access.run(_ask_for(access.desk, [info]), limit_s=10.0)
        if self._watching is None or self._watching.done():
            self._watching = BACKGROUND.spawn(self._watch(access.desk))

    def unsubscribe(self, symbols: str | Iterable[str]) -> None:
        """Ask for no more prices; the data line is given back within a minute, if nobody else wants it."""
        for name in [symbols] if isinstance(symbols, str) else list(symbols):
            self._subscribed.pop(name, None)
            self._latest.pop(name, None)
            self._callbacks.pop(name, None)

    @property
    def subscriptions(self) -> list[str]:
        """Return what is subscribed, in order."""
        return list(self._subscribed)

    def contracts(self) -> dict[str, ContractInfo]:
        """Return the definition of every subscribed contract by the name it was subscribed with."""
        return {name: info for name, (info, _) in self._subscribed.items()}

    def get_latest_price(self, symbol: str, timeout: float = FIRST_PRICE_S) -> float | None:
        """Return the last trade, else the middle of the quote; None if there is none within `timeout` seconds.

        A symbol that is not subscribed is subscribed first.
        """
        quote = self.get_quote(symbol, timeout)
        return None if quote is None else price_of(quote)

    def get_quote(self, symbol: str, timeout: float = FIRST_PRICE_S) -> dict[str, float] | None:
        """Return bid, ask, last and their sizes, as far as known, and `ts_ns`; None as `get_latest_price`."""
        self._subscribe(symbol)
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(timeout * NS_PER_S)
        while symbol not in self._latest and SYSTEM_CLOCK.monotonic_ns() < deadline_ns:
            SYSTEM_CLOCK.block(0.02)
        found = self._latest.get(symbol)
        return None if found is None else dict(found)

    async def _watch(self, desk: Desk) -> None:
        """Keep asking for what is subscribed, and tell what is new."""
        renewed_ns, is_away = SYSTEM_CLOCK.monotonic_ns(), False
        while True:
            try:
                if SYSTEM_CLOCK.monotonic_ns() - renewed_ns > RENEW_S * NS_PER_S:
                    await _ask_for(desk, [info for info, _ in self._subscribed.values()])
                    renewed_ns = SYSTEM_CLOCK.monotonic_ns()
                for symbol, (info, since_ns) in list(self._subscribed.items()):
                    self._take(symbol, quote_of(await desk.last_price(info.con_id), since_ns))
                is_away = False
            except BusUnavailable as e:
                if not is_away:
                    log.warning("no prices at the moment: %s", e)
                is_away = True
                await SYSTEM_CLOCK.sleep(1.0)
            await SYSTEM_CLOCK.sleep(LOOK_EVERY_S)

    def _take(self, symbol: str, quote: dict[str, float] | None) -> None:
        if quote is None or quote == self._latest.get(symbol) or symbol not in self._subscribed:
            return
        self._latest[symbol] = quote
        price = price_of(quote)
        if price is not None:
            for callback in self._callbacks.get(symbol, ()):
                BACKGROUND.tell(callback, symbol, price, dict(quote))

    # -- history

    def get_historical_bars(
        self,
        symbol: str,
        duration: str = "1 M",
        bar_size: str = "1 day",
        what_to_show: str = "TRADES",
        use_rth: bool = True,  # noqa: FBT001, FBT002 - the guide's signature
        *,
        end: datetime | str | None = None,
        limit_s: float = HISTORY_LIMIT_S,
    ) -> Any:
        """Return bars as a pandas DataFrame: open, high, low, close, volume, vwap by `date` (opening time, UTC).

        Args:
            symbol: AAPL, SAP@IBIS:EUR …
            duration: calendar time back from `end`: "1 M", "30 D", "3600 S", "1 Y".
            bar_size: "1 day", "5 mins", "1 min" …
            what_to_show: TRADES, MIDPOINT, BID, ASK …
            use_rth: regular trading hours only.
            end: latest time; default now.
            limit_s: how long to wait; IB's pacing may take minutes.

        Raises:
            BadInput: no such symbol, duration or bar size.
            Refused: there are no such bars; the sentence has the broker's reason.
            TimedOut: no answer within `limit_s`.
        """
        try:
            end_ns = parse_iso_utc(end.isoformat() if isinstance(end, datetime) else end) if end is not None else 0
        except ValueError as e:
            raise BadInput(f"end {end!r} is not an ISO 8601 time such as 2026-11-23 or 2026-11-23T14:30") from e
        span_s, size = parse_span_s(duration), parse_bar_size(bar_size)
        access = self.access

        async def ask() -> Any:
            info = await access.desk.resolve(symbol)
            return await access.desk.history(
                info.con_id, bar_size=size, span_s=span_s, end_ns=end_ns, what_to_show=what_to_show.upper(),
                use_rth=use_rth, limit_s=limit_s,
            )  # fmt: skip

        return bars_frame(access.run(ask(), limit_s=limit_s + 15))


async def _ask_for(desk: Desk, contracts: list[ContractInfo]) -> None:
    """Keep contracts on the list of what is watched for another minute."""
    until = str(SYSTEM_CLOCK.wall_ns() + WATCH_S * NS_PER_S)
    if contracts:
        await desk.bus.hash_set(desk.keys.watches, {str(info.con_id): until for info in contracts})


def quote_of(snapshot: dict[str, str], since_ns: int) -> dict[str, float] | None:
    """Return the numbers of a price snapshot; None if it has none, or is from before `since_ns`."""
    ts_ns = int(snapshot.get("ts_ns") or 0)
    numbers = {name: float(snapshot[name]) for name in NUMBERS if snapshot.get(name)}
    if ts_ns < since_ns or price_of(numbers) is None:
        return None
    return {**numbers, "ts_ns": ts_ns}


def price_of(quote: dict[str, float]) -> float | None:
    """Return the last trade, else the middle of bid and ask, else None."""
    if quote.get("last", 0) > 0:
        return quote["last"]
    bid, ask = quote.get("bid", 0), quote.get("ask", 0)
    return round((bid + ask) / 2, 6) if bid > 0 and ask > 0 else None
