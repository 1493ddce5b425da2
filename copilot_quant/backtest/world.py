"""Run the world of a backtest: market, exchange, gateway, risk and strategy units in one process on one given clock.

An order goes the way it goes live: a unit's intent, risk's decision, the gateway's claim, the exchange; and back: its
messages, order events and fills, to risk and the unit. All of it is the services' own cores.

Invariants:
1. One clock, that of the data; nothing here reads another, and nothing is random: the same data, the same result.
2. No look-ahead: what is due by the time of an event happens before it, by the prices before it; an order that an event
   causes reaches the market only after the latency has passed, and so meets later moments only.
3. The order of one moment is fixed: the exchange, closed bars, timers, then the market's own events.
4. Risk and matching cost nothing while nobody orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from copilot_quant.backtest.contracts import Contract
from copilot_quant.backtest.exchange import Exchange
from copilot_quant.backtest.gateway import Gateway, Told
from copilot_quant.backtest.journal import Journal, Sample
from copilot_quant.backtest.market import Prices, Row
from copilot_quant.backtest.riskdesk import RiskDesk
from copilot_quant.backtest.units import NEVER, BacktestUnit, Running, bar_event
from services.marketdata.core.bars import BarRules, ContractBars
from services.simulator.core.market import Quote as MarketQuote
from services.strategy.core.events import Quote, Trade
from shared.clock import NS_PER_S
from shared.messages.market import Bar as BarMessage
from shared.messages.market import DataQuality
from shared.messages.orders import CancelRequest, Commission, Fill, Intent
from shared.sessions import SessionCalendar

LIVE = int(DataQuality.LIVE)
ROUNDS_MAX = 100
"""How often a unit may order in answer to its own orders within one moment, before it is paused."""
GRACE_NS = BarRules().grace_ns


@dataclass(frozen=True, slots=True)
class GivenBar:
    """A bar that the data bring, and when it is known; `index` counts the symbols."""

    at_ns: int
    index: int
    message: BarMessage


class World:
    """One run.

    Args:
        contracts: name → contract, in the order of the rows' index.
        running: the units.
        exchange: the broker's side.
        gateway: the way to it.
        risk: the decisions.
        steps: price step by index for symbols that have no quotes, else 0.
        sample_ns: how often the account is valued; 0: at the close of each daily bar.
        given: bars that the data bring: then none are built here.
    """

    def __init__(
        self,
        contracts: Mapping[str, Contract],
        running: Sequence[Running],
        exchange: Exchange,
        gateway: Gateway,
        risk: RiskDesk,
        *,
        steps: Sequence[float],
        sample_ns: int,
        given: Sequence[GivenBar] = (),
    ) -> None:
        self._contracts = list(contracts.values())
        self._running = list(running)
        self._exchange, self._gateway, self._risk = exchange, gateway, risk
        self._con_ids = [each.info.con_id for each in self._contracts]
        self._names = {each.info.con_id: each.name for each in self._contracts}
        self._prices = Prices([exchange.book(con_id) for con_id in self._con_ids], steps)
        self._risk_seen: list[tuple[Row | None, Row | None]] = [(None, None)] * len(self._con_ids)
        self._account_ns = -1
        self._sample_ns, self._sample_due_ns = sample_ns, 0
        self._given, self._given_at = sorted(given, key=lambda one: one.at_ns), 0
        self._bars_due_ns = self._units_due_ns = NEVER
        self._units = {each: [one for one in running if each in one.unit.contracts] for each in self._con_ids}
        self._bars = self._builders()
        self.due_ns = 0
        self.events = 0
        self.journal = Journal(prices={each.name: [] for each in self._contracts})

    def _builders(self) -> list[ContractBars | None]:
        """Return who builds bars of each symbol; nobody where no unit reads any, or the data bring them."""
        builders: list[ContractBars | None] = []
        for each in self._contracts:
            units = self._units[each.info.con_id]
            reads = tuple(dict.fromkeys(size for one in units for size in one.declared.strategy.reads))
            calendar = SessionCalendar(each.info.time_zone, each.info.liquid_hours)  # as marketdata does
            builders.append(
                ContractBars(each.info.con_id, calendar, BarRules(intervals=reads))
                if reads and not self._given
                else None
            )
        return builders

    # -- the run

    def start(self, now_ns: int) -> None:
        """Start every unit; its history has been loaded."""
        self._exchange.pass_to(now_ns)
        for one in self._running:
            one.unit.history.begin(now_ns)
            one.unit.start(now_ns, now_ns)
        self._sample_due_ns = now_ns if self._sample_ns else NEVER
        self._settle(now_ns)

    def play(self, pieces: Iterable[list[Row]], tell: Callable[[int, int], None]) -> None:  # noqa: C901 - one loop: each call in it is paid a million times
        """Play the market; `tell` hears how many events were played and the time, after each piece."""
        prices, is_working = self._prices, self._exchange.is_working
        quotes, trades, bars = prices.quotes, prices.trades, self._bars
        con_ids, infos = self._con_ids, [each.info for each in self._contracts]
        quoted = [[one.unit for one in self._units[key] if one.wants_quotes] for key in con_ids]
        traded = [[one.unit for one in self._units[key] if one.wants_trades] for key in con_ids]
        second_ends = [0] * len(con_ids)
        out: list[BarMessage] = []
        for piece in pieces:
            due_ns = self.due_ns
            at_ns = 0
            for row in piece:
                at_ns, ts_ns, index, is_quote, a, b, c, d = row
                if at_ns >= due_ns:
                    self._run_until(at_ns)
                    due_ns = self.due_ns
                if is_quote:
                    quotes[index] = row
                    if is_working and con_ids[index] in is_working:
                        self._meet(index, row)
                        due_ns = self.due_ns
                    for unit in quoted[index]:
                        unit.quote(Quote(infos[index], a, b, c, d, ts_ns, LIVE), at_ns, at_ns, "")
                        box = unit.outbox
                        if box.intents or box.cancels or unit.is_armed:
                            self._settle(at_ns)
                            due_ns = self.due_ns
                    continue
                trades[index] = row
                if is_working and con_ids[index] in is_working:
                    self._meet(index, row)
                    due_ns = self.due_ns
                builder = bars[index]
                if builder is not None:
                    builder.on_trade(ts_ns, a, b, LIVE, out)
                    if out:
                        self._give_built(index, out, at_ns)
                        due_ns = self.due_ns
                    if ts_ns >= second_ends[index]:
                        second_ends[index] = self._second_begins(ts_ns)
                        due_ns = self.due_ns
                for unit in traded[index]:
                    unit.trade(Trade(infos[index], a, b, ts_ns, LIVE), at_ns, at_ns, "")
                    box = unit.outbox
                    if box.intents or box.cancels or unit.is_armed:
                        self._settle(at_ns)
                        due_ns = self.due_ns
            self.events += len(piece)
            tell(self.events, at_ns)

    def stop(self, now_ns: int) -> None:
        """Let what is due by the end happen, then stop every unit and value the account a last time."""
        self._run_until(now_ns)
        for one in self._running:
            one.unit.stop(now_ns, now_ns)
        self._settle(now_ns)
        self._sample(now_ns)

    # -- what is due

    def _run_until(self, now_ns: int) -> None:
        """Let everything happen that is due by now, each at its own time."""
        self._prices.sync()
        while True:
            exchange_ns = self._exchange.due_ns()
            exchange_ns = NEVER if exchange_ns is None else exchange_ns
            given_ns = self._given[self._given_at].at_ns if self._given_at < len(self._given) else NEVER
            at_ns = min(exchange_ns, self._bars_due_ns, given_ns, self._units_due_ns, self._sample_due_ns)
            if at_ns > now_ns:
                self.due_ns = at_ns
                return
            if at_ns == exchange_ns:
                self._exchange.run_one(at_ns)
                self._pump(at_ns)
            elif at_ns == self._bars_due_ns:
                self._close_bars(at_ns)
            elif at_ns == given_ns:
                self._give_due(at_ns)
            elif at_ns == self._units_due_ns:
                for one in self._running:
                    one.unit.tick(at_ns)
            else:
                self._sample(at_ns)
                # After a pause of the market the next one is due soon after it, not all that were left out.
                self._sample_due_ns = max(at_ns + self._sample_ns, now_ns - now_ns % self._sample_ns)
            self._settle(at_ns)

    def _give_due(self, now_ns: int) -> None:
        """Give out the bars of this moment; where they are days, value the account before."""
        if not self._sample_ns:
            self._sample(now_ns)
        while self._given_at < len(self._given) and self._given[self._given_at].at_ns <= now_ns:
            bar = self._given[self._given_at]
            self._given_at += 1
            self._give(bar.index, bar.message, now_ns)

    def _settle(self, now_ns: int) -> None:
        """Send what units want to send, and note what is due next."""
        self._pump(now_ns)
        self._units_due_ns = min((one.unit.due_ns(now_ns) for one in self._running), default=NEVER)
        exchange_ns = self._exchange.due_ns()
        given_ns = self._given[self._given_at].at_ns if self._given_at < len(self._given) else NEVER
        due_ns = min(self._bars_due_ns, self._units_due_ns, self._sample_due_ns, given_ns)
        self.due_ns = due_ns if exchange_ns is None else min(due_ns, exchange_ns)

    # -- market, bars, samples

    def _meet(self, index: int, row: Row) -> None:
        """Let orders that rest in a contract meet an event."""
        for event in self._prices.events(index, row):
            if isinstance(event, MarketQuote):
                self._exchange.quote(event)
            else:
                self._exchange.trade(event)
        self._prices.met(index)
        if self._exchange.has_news:
            self._settle(row[0])

    def _second_begins(self, ts_ns: int) -> int:
        """Have bars closed after the second of a trade; return its end."""
        end_ns = ts_ns - ts_ns % NS_PER_S + NS_PER_S
        self._bars_due_ns = min(self._bars_due_ns, end_ns + GRACE_NS)
        self.due_ns = min(self.due_ns, self._bars_due_ns)
        return end_ns

    def _give_built(self, index: int, out: list[BarMessage], now_ns: int) -> None:
        for message in out:
            self._give(index, message, now_ns)
        out.clear()
        self._settle(now_ns)

    def _close_bars(self, now_ns: int) -> None:
        out: list[BarMessage] = []
        due_ns = NEVER
        for index, builder in enumerate(self._bars):
            if builder is None:
                continue
            builder.advance(now_ns, out)
            for message in out:
                self._give(index, message, now_ns)
            out.clear()
            deadline_ns = builder.deadline_ns()
            due_ns = due_ns if deadline_ns is None else min(due_ns, deadline_ns)
        self._bars_due_ns = max(due_ns, now_ns + 1)

    def _give(self, index: int, message: BarMessage, now_ns: int) -> None:
        for one in self._units[self._con_ids[index]]:
            if message.interval in one.declared.strategy.reads:
                one.unit.bar(bar_event(message, self._contracts[index].info), now_ns, now_ns, "")

    def _sample(self, now_ns: int) -> None:
        """Value the account, in floats: this is for people, the account itself counts exactly."""
        self._prices.sync()
        account, base = self._exchange.account, self._exchange.account.base
        rate, mark = self._exchange.orders.fills.rate, self._exchange.orders.fills.mark
        cash = sum(float(amount * rate(currency)) for currency, amount in account.cash.items())
        gross = net = paid = 0.0
        for holding in account.holdings.values():
            if holding.quantity:
                currency = holding.instrument.currency
                value = holding.value(mark(holding.instrument))
                worth = float(value if currency == base else value * rate(currency))
                gross, net = gross + abs(worth), net + worth
                paid += float(holding.cost) if holding.instrument.is_margined else 0.0
        self.journal.samples.append(Sample(now_ns, cash + net - paid, gross, net))
        for index, each in enumerate(self._contracts):
            price = self._exchange.book(self._con_ids[index]).mark
            if price:
                self.journal.prices[each.name].append((now_ns, price))
        if gross:
            self._tell_account(now_ns)

    # -- orders

    def _pump(self, now_ns: int) -> None:
        """Carry messages between the exchange and the units until nobody says anything more."""
        self._exchange.pass_to(now_ns)
        rounds = 0
        while True:
            responses = self._exchange.take()
            for response in responses:
                for told in self._gateway.hear(response, now_ns):
                    self._tell(told, now_ns)
            busy = [one.unit for one in self._running if one.unit.outbox.intents or one.unit.outbox.cancels]
            for unit in busy:
                self._send(unit, now_ns)
            if not responses and not busy:
                return
            rounds += 1
            if rounds > ROUNDS_MAX:
                for unit in busy:
                    unit.pause(f"it orders again and again within one moment ({ROUNDS_MAX} times)")

    def _tell(self, told: Told, now_ns: int) -> None:
        if isinstance(told, Commission):
            self.journal.commission(told)
            return
        self._risk.tell(told, now_ns)
        if isinstance(told, Fill):
            self.journal.fill(told, self._names)
            self._account_ns = -1
            for one in self._units.get(told.con_id, ()):
                one.unit.fill(told, now_ns, now_ns, "")
        else:
            self.journal.order(told)
            for one in self._units.get(told.con_id, ()):
                one.unit.order_event(told, now_ns, now_ns, "")

    def _send(self, unit: BacktestUnit, now_ns: int) -> None:
        """Let what a unit wants go its way; cancels of what is working pass first, as they do live."""
        intents, cancels = unit.take()
        early = [cancel for cancel in cancels if self._gateway.knows(cancel.intent_id)]
        for cancel in early:
            self._cancel(cancel)
        if intents:
            self._prices.sync()
            self._tell_prices()
            if now_ns - self._account_ns >= NS_PER_S or self._account_ns < 0:
                self._tell_account(now_ns)
        for intent in intents:
            self._place(unit, intent, now_ns)
        for cancel in cancels:
            if cancel not in early:
                self._cancel(cancel)

    def _cancel(self, cancel: CancelRequest) -> None:
        self.journal.cancels += 1
        for order_id in self._gateway.to_cancel(cancel):
            self._exchange.cancel(order_id)

    def _place(self, unit: BacktestUnit, intent: Intent, now_ns: int) -> None:
        self.journal.asked(intent)
        verdict = self._risk.decide(intent, now_ns)
        self.journal.decided(verdict.decision)
        unit.decision(verdict.decision, now_ns, now_ns, "")
        if verdict.command is None:
            return
        events, orders = self._gateway.claim(verdict.command, now_ns)
        for event in events:
            self._tell(event, now_ns)
        for order in orders:
            self._exchange.place(order)

    def _tell_prices(self) -> None:
        for index, con_id in enumerate(self._con_ids):
            quote, trade = self._prices.quotes[index], self._prices.trades[index]
            seen = self._risk_seen[index]
            if trade is not None and trade is not seen[1]:
                self._risk.trade(con_id, trade[0], trade[4])
            if quote is not None and quote is not seen[0]:
                self._risk.quote(con_id, quote[0], quote[4], quote[6])
            self._risk_seen[index] = (quote, trade)

    def _tell_account(self, now_ns: int) -> None:
        account = self._exchange.account
        self._risk.account(self._exchange.orders.fills.summary(account), account.previous_equity, now_ns)
        self._account_ns = now_ns
