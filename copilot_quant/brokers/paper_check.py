"""Try each assumption about IB that the system relies on, on the user's own paper account, with one-share orders.

1. Never on a live account: the login has to be the paper account of the settings, and nothing but it.
2. These orders pass by risk; so a person agrees first, and no system may run beside it.
3. Whatever happens, in the end the orders of this check are cancelled and what it bought is sold.

Every wait has a limit; what does not come within it is `not seen`, or a difference where it has to come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from copilot_quant.brokers.direct import ClientIdInUse, InspectionIB
from copilot_quant.paper_report import Outcome, Seen
from shared.clock import NS_PER_S, SYSTEM_CLOCK, random_token
from shared.errors import BrokerUnavailable, Refused
from shared.settings import BrokerSettings, Mode, check_account

OWNER_ID, STRANGER_ID = 28_601, 28_602
"""Client ids that nothing else of ours uses."""
REF_LENGTH = 32
CONNECT_S, ANSWER_S, RELEASE_S = 10.0, 8.0, 15.0
BELOW_MARKET = 0.92
Restart = Callable[[Callable[[], bool]], Awaitable[bool]]
"""Given whether the session is still there; says whether TWS was restarted."""


class PaperCheck:
    """One run.

    Args:
        settings: the paper account and where its TWS is.
        symbol: a US stock whose market is open.
        restart: awaited when TWS may be restarted; says whether it was.
    """

    def __init__(self, settings: BrokerSettings, symbol: str, restart: Restart) -> None:
        if settings.mode is not Mode.PAPER or check_account(Mode.PAPER, settings.account):
            raise Refused("PAPER_ONLY", f"this is for paper accounts only, not for {settings.mode} {settings.account}")
        self._settings = settings
        self._symbol = symbol
        self._restart = restart
        self._prefix = f"cqcheck-{random_token(6)}"
        self._has_ordered = False
        self.found: list[Seen] = []
        self.facts: dict[str, str] = {}

    async def run(self) -> list[Seen]:
        """Try everything and return what was seen.

        Raises:
            BrokerUnavailable: TWS does not answer, or has no price of the symbol.
            Refused: the login has another account.
        """
        async with self._session(OWNER_ID) as owner:
            contract, price = await self._market(owner)
            limit = round(price * BELOW_MARKET, 2)
            trade = await self._rest(owner, contract, limit, "DAY", "rest")
            await self._while_it_rests(owner, trade)
        await self._after_reconnect(trade)
        await self._fill(contract)
        await self._two_sessions(contract)
        await self._over_a_restart(contract, limit)
        return self.found

    # -- the steps

    async def _while_it_rests(self, owner: InspectionIB, trade: Any) -> None:
        """See who may do what with a resting order."""
        async with self._session(STRANGER_ID) as stranger:
            listed = await self._all_orders(stranger)
            mine = next((one for one in listed if _ref(one).startswith(self._prefix)), None)
            self._note("stranger_sees", mine is not None, f"{len(listed)} orders in the list")
            refs = {_ref(trade), _ref(mine) if mine is not None else ""}
            is_whole = all(ref.startswith(self._ref("rest")) for ref in refs)
            self._note("order_ref", is_whole, f"sent {REF_LENGTH} characters, came back: {sorted(map(len, refs))}")
            client: Any = stranger.client
            client.cancelOrder(trade.order.orderId, "")
            await SYSTEM_CLOCK.sleep(2.0)
            self._note("stranger_cannot", _is_working(trade), f"afterwards it is {trade.orderStatus.status}")
        try:
            async with self._session(OWNER_ID):
                self._note("id_in_use", False, "the second session was accepted")
        except ClientIdInUse as e:
            self._note("id_in_use", True, f"refused: {e}")
        del owner

    async def _after_reconnect(self, trade: Any) -> None:
        """Come back under the same client id, and cancel what it left."""
        began_ns = SYSTEM_CLOCK.monotonic_ns()
        owner = await self._reopened(OWNER_ID)
        took_s = (SYSTEM_CLOCK.monotonic_ns() - began_ns) / NS_PER_S
        if owner is None:
            self._note("id_release", False, f"still refused after {RELEASE_S:g} s")
            return
        try:
            self._note("id_release", True, f"free after {took_s:.1f} s")
            next_id = owner.client.getReqId()
            self._note(
                "next_id_grows", next_id > trade.order.orderId, f"{trade.order.orderId} was used, {next_id} is next"
            )
            await asyncio.wait_for(owner.reqOpenOrdersAsync(), ANSWER_S)
            again = next((one for one in owner.openTrades() if _ref(one).startswith(self._ref("rest"))), None)
            if again is None:
                self._note("owner_returns", False, "the order was not shown")
                return
            same = again.order.permId == trade.order.permId
            owner.cancelOrder(again.order)
            gone = await self._eventually(lambda: again.orderStatus.status in ("Cancelled", "ApiCancelled"))
            self._note(
                "owner_returns",
                same and gone,
                f"permId {'the same' if same else 'another'}, {again.orderStatus.status}",
            )
        finally:
            _leave(owner)

    async def _fill(self, contract: Any) -> None:
        """Buy one share, see who is shown the execution, and sell it again."""
        from ib_insync import ExecutionFilter, MarketOrder

        async with self._session(OWNER_ID) as owner:
            before = self._held(owner, contract)
            order = MarketOrder("BUY", 1, tif="DAY", orderRef=self._ref("buy"), account=self._settings.account)
            trade = owner.placeOrder(contract, order)
            is_filled = await self._eventually(lambda: bool(trade.fills))
            if not is_filled:
                owner.cancelOrder(trade.order)
                for key in ("execution_owner", "execution_stranger", "commission", "position"):
                    self._see(
                        key, "not seen", f"the order did not fill ({trade.orderStatus.status}): is the market open?"
                    )
                return
            exec_id = trade.fills[0].execution.execId
            await self._eventually(lambda: bool(trade.fills[0].commissionReport.execId))
            self._note("commission", trade.fills[0].commissionReport.execId == exec_id, "by execId")
            moved = await self._eventually(lambda: self._held(owner, contract) == before + 1)
            self._note("position", moved, f"{before:g} before, {self._held(owner, contract):g} after")
        async with self._session(STRANGER_ID) as stranger:
            shown = await asyncio.wait_for(stranger.reqExecutionsAsync(ExecutionFilter()), ANSWER_S)
            strange = any(fill.execution.execId == exec_id for fill in shown)
            self._note("execution_stranger", not strange, f"{len(shown)} executions shown to another client id")
        async with self._session(OWNER_ID) as owner:
            shown = await asyncio.wait_for(owner.reqExecutionsAsync(ExecutionFilter()), ANSWER_S)
            mine = next((fill for fill in shown if fill.execution.execId == exec_id), None)
            has_ref = mine is not None and str(mine.execution.orderRef).startswith(self._ref("buy"))
            self._note("execution_owner", has_ref, "in a new session, with its orderRef" if has_ref else "not shown")
            await self._sell(owner, contract)

    async def _two_sessions(self, contract: Any) -> None:
        """See whether leader and standby can have the same prices."""
        async with self._session(OWNER_ID) as one, self._session(STRANGER_ID) as two:
            tickers = []
            for session in (one, two):
                session.reqMarketDataType(4)
                tickers.append(session.reqMktData(contract, "", False, False))
            both = await self._eventually(lambda: all(_has_price(ticker) for ticker in tickers))
            counts = [_has_price(ticker) for ticker in tickers]
            outcome: Outcome = "as assumed" if both else ("differs" if any(counts) else "not seen")
            self._see("two_sessions_data", outcome, f"{sum(counts)} of 2 sessions had a price")
            for session in (one, two):
                session.cancelMktData(contract)

    async def _over_a_restart(self, contract: Any, limit: float) -> None:
        """Leave a GTC order, have TWS restarted, and look for it."""
        async with self._session(OWNER_ID) as owner:
            trade = await self._rest(owner, contract, limit, "GTC", "gtc")
            perm_id = trade.order.permId
            was_restarted = await self._restart(owner.isConnected)
        owner_again = await self._reopened(OWNER_ID, limit_s=600.0 if was_restarted else RELEASE_S)
        if owner_again is None:
            self._see("gtc_restart", "not seen", "TWS did not come back")
            return
        try:
            await asyncio.wait_for(owner_again.reqOpenOrdersAsync(), ANSWER_S)
            left = next((one for one in owner_again.openTrades() if _ref(one).startswith(self._ref("gtc"))), None)
            if not was_restarted:
                self._see("gtc_restart", "not seen", "TWS was not restarted")
            else:
                same = left is not None and left.order.permId == perm_id
                self._note("gtc_restart", same, "there, with its permId" if same else "not there, or another permId")
            if left is not None:
                owner_again.cancelOrder(left.order)
                await self._eventually(lambda: left.orderStatus.status in ("Cancelled", "ApiCancelled"))
        finally:
            _leave(owner_again)

    async def clean_up(self) -> str:
        """Cancel what is left of this check and sell what it bought; say what could not be done."""
        if not self._has_ordered:
            return ""
        owner = await self._reopened(OWNER_ID)
        if owner is None:
            return "TWS does not answer: look there for orders and shares of this check"
        try:
            await asyncio.wait_for(owner.reqOpenOrdersAsync(), ANSWER_S)
            left = [one for one in owner.openTrades() if _ref(one).startswith(self._prefix)]
            for one in left:
                owner.cancelOrder(one.order)
            if not await self._eventually(lambda: not any(_is_working(one) for one in left)):
                return "an order of this check still works: cancel it in TWS"
        finally:
            _leave(owner)
        return ""

    # -- helpers

    @asynccontextmanager
    async def _session(self, client_id: int) -> AsyncIterator[InspectionIB]:
        """Open a session and close it again."""
        ib = InspectionIB(allow_raw_orders=True)
        await ib.open(self._settings.broker_host, self._settings.broker_port, client_id, CONNECT_S)
        try:
            self._check(ib)
            yield ib
        finally:
            _leave(ib)

    def _check(self, ib: InspectionIB) -> None:
        """Stay with the one paper account (P8)."""
        accounts = list(ib.managedAccounts())
        if self._settings.account not in accounts or any(check_account(Mode.PAPER, one) for one in accounts):
            raise Refused("PAPER_ONLY", "this login is not that of the paper account in .env: nothing was sent")
        self.facts.setdefault("server version", str(ib.client.serverVersion()))

    async def _reopened(self, client_id: int, *, limit_s: float = RELEASE_S) -> InspectionIB | None:
        """Try until the id is free and TWS answers; None after the limit."""
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(limit_s * NS_PER_S)
        while True:
            ib = InspectionIB(allow_raw_orders=True)
            try:
                await ib.open(self._settings.broker_host, self._settings.broker_port, client_id, CONNECT_S)
            except BrokerUnavailable:
                if SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
                    return None
                await SYSTEM_CLOCK.sleep(0.5)
                continue
            self._check(ib)
            return ib

    async def _market(self, ib: InspectionIB) -> tuple[Any, float]:
        from ib_insync import Stock

        found = await asyncio.wait_for(ib.qualifyContractsAsync(Stock(self._symbol, "SMART", "USD")), ANSWER_S)
        if not found:
            raise BrokerUnavailable(f"{self._symbol} is no US stock that this TWS knows")
        ib.reqMarketDataType(4)
        ticker = ib.reqMktData(found[0], "", False, False)
        if not await self._eventually(lambda: _has_price(ticker)):
            raise BrokerUnavailable(f"no price of {self._symbol}: is its market open, are delayed data allowed?")
        price = next(value for value in (ticker.last, ticker.bid, ticker.close) if value == value and value > 0)
        ib.cancelMktData(found[0])
        return found[0], float(price)

    async def _rest(self, ib: InspectionIB, contract: Any, limit: float, tif: str, name: str) -> Any:
        """Place a limit order for one share that does not fill, and wait until it works."""
        from ib_insync import LimitOrder

        order = LimitOrder("BUY", 1, limit, tif=tif, orderRef=self._ref(name), account=self._settings.account)
        self._has_ordered = True
        trade = ib.placeOrder(contract, order)
        if not await self._eventually(lambda: _is_working(trade) and bool(trade.order.permId)):
            raise BrokerUnavailable(f"the order does not work ({trade.orderStatus.status}): {_last_word(trade)}")
        return trade

    async def _sell(self, ib: InspectionIB, contract: Any) -> None:
        from ib_insync import MarketOrder

        order = MarketOrder("SELL", 1, tif="DAY", orderRef=self._ref("sell"), account=self._settings.account)
        trade = ib.placeOrder(contract, order)
        if not await self._eventually(lambda: trade.orderStatus.status == "Filled"):
            self.facts["left over"] = f"one share of {self._symbol}, which did not sell: {_last_word(trade)}"

    async def _all_orders(self, ib: InspectionIB) -> list[Any]:
        return list(await asyncio.wait_for(ib.reqAllOpenOrdersAsync(), ANSWER_S))

    def _held(self, ib: InspectionIB, contract: Any) -> float:
        return next((one.position for one in ib.positions() if one.contract.conId == contract.conId), 0.0)

    def _ref(self, name: str) -> str:
        return f"{self._prefix}-{name}-".ljust(REF_LENGTH, "0")

    async def _eventually(self, look: Callable[[], bool], limit_s: float = ANSWER_S) -> bool:
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(limit_s * NS_PER_S)
        while not look():
            if SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
                return False
            await SYSTEM_CLOCK.sleep(0.1)
        return True

    def _note(self, key: str, is_as_assumed: bool, evidence: str) -> None:  # noqa: FBT001 - a finding, not a switch
        self._see(key, "as assumed" if is_as_assumed else "differs", evidence)

    def _see(self, key: str, outcome: Outcome, evidence: str) -> None:
        self.found.append(Seen(key, outcome, evidence))


def _leave(ib: Any) -> None:
    ib.disconnect()


def _ref(trade: Any) -> str:
    return str(getattr(trade, "order", trade).orderRef)


def _is_working(trade: Any) -> bool:
    return trade.orderStatus.status in ("PreSubmitted", "Submitted")


def _has_price(ticker: Any) -> bool:
    return any(value == value and value > 0 for value in (ticker.last, ticker.bid, ticker.close))


def _last_word(trade: Any) -> str:
    return next((entry.message for entry in reversed(trade.log) if entry.message), "no word of the broker")
