"""Answer and keep up the account subscriptions: values, portfolio, positions, summary, profit and loss.

Invariants:
1. Every subscription ends its first answer with its end marker.
2. After a fill the changed position goes out at once; values at IB's cadence (three minutes) and on position changes.

Source: ib-facts A.11 (cadence, at most two summaries), B.5.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from services.simulator.core.account import Account, Holding, Summary
from services.simulator.core.account_values import SUMMARY_TAGS, Value, base_values, currency_values
from services.simulator.core.fills import FillBooker
from services.simulator.core.floor import Floor
from services.simulator.core.matching import price_of
from services.simulator.core.sessions import Session
from services.simulator.core.times import local
from shared.tws import requests as rq
from shared.tws import responses as rs

MAX_SUMMARIES = 2


class AccountDesk:
    """The account side of the exchange."""

    def __init__(self, floor: Floor, accounts: dict[str, Account], fills: FillBooker) -> None:
        self._floor = floor
        self._accounts = accounts
        self._fills = fills
        self._updates: dict[int, str] = {}
        self._positions: set[int] = set()
        self._summaries: dict[tuple[int, int], tuple[list[str], list[str]]] = {}
        self._multi_updates: dict[tuple[int, int], rq.ReqAccountUpdatesMulti] = {}
        self._multi_positions: dict[tuple[int, int], str] = {}
        self._pnl: dict[tuple[int, int], str] = {}
        self._pnl_single: dict[tuple[int, int], tuple[str, int]] = {}
        floor.position_changed = self._on_position
        floor.account_changed = self._on_account
        floor.later(floor.config.summary_period_ns, self._refresh)
        floor.later(floor.config.pnl_period_ns, self._send_pnl)

    # -------------------------------------------------------------------------------------------- updates (6)
    def account_updates(self, session: Session, request: rq.ReqAccountUpdates) -> None:
        """Start or stop the one account subscription of a client."""
        if not request.subscribe:
            self._updates.pop(session.session, None)
            return
        account = self._known(request.account)
        if account is None:
            self._invalid(session, -1, request.account)
            return
        self._updates[session.session] = account.name
        self._send_account(session.session, account)
        self._floor.send(session.session, rs.AccountDownloadEnd(account.name))

    def _send_account(self, session: int, account: Account) -> None:
        floor = self._floor
        for tag, value, currency in self._values(account):
            floor.send(session, rs.AccountValue(tag, value, currency, account.name))
        for holding in account.holdings.values():
            if holding.quantity:
                floor.send(session, self._portfolio(account, holding))
        moment = local(floor.now_ns, floor.config.time_zone)
        floor.send(session, rs.AccountUpdateTime(f"{moment:%H:%M}"))

    def _values(self, account: Account) -> list[Value]:
        summary = self._fills.summary(account)
        return base_values(account, summary) + currency_values(account, summary, self._fills.rate, self._fills.mark)

    def _portfolio(self, account: Account, holding: Holding) -> rs.PortfolioValue:
        mark = price_of(self._floor.mark(holding.instrument))
        return rs.PortfolioValue(
            contract=holding.instrument.contract(),
            position=holding.quantity,
            market_price=float(mark),
            market_value=float(round(holding.value(mark), 2)),
            average_cost=float(round(holding.average_cost, 8)),
            unrealized_pnl=float(round(holding.unrealized(mark), 2)) if holding.quantity else 0.0,
            realized_pnl=float(round(holding.realized_today, 2)),
            account=account.name,
        )

    # -------------------------------------------------------------------------------------------- positions (61)
    def positions(self, session: Session, _: rq.ReqPositions) -> None:
        """Send all positions of all accounts, and keep sending changes."""
        self._positions.add(session.session)
        for account in self._accounts.values():
            for holding in account.holdings.values():
                if holding.quantity:
                    self._floor.send(session.session, self._position(account, holding))
        self._floor.send(session.session, rs.PositionEnd())

    def cancel_positions(self, session: Session, _: rq.CancelPositions) -> None:
        """Stop sending changes."""
        self._positions.discard(session.session)

    @staticmethod
    def _position(account: Account, holding: Holding) -> rs.Position:
        contract = replace(holding.instrument.contract(), exchange="")
        return rs.Position(account.name, contract, holding.quantity, float(round(holding.average_cost, 8)))

    def positions_multi(self, session: Session, request: rq.ReqPositionsMulti) -> None:
        """Send the positions of one account (or all) under a request id."""
        self._multi_positions[(session.session, request.req_id)] = request.account
        for account in self._chosen(request.account):
            for holding in account.holdings.values():
                if holding.quantity:
                    self._send_multi(session.session, request.req_id, account, holding)
        self._floor.send(session.session, rs.PositionMultiEnd(request.req_id))

    def cancel_positions_multi(self, session: Session, request: rq.CancelPositionsMulti) -> None:
        """Stop a positions subscription."""
        self._multi_positions.pop((session.session, request.req_id), None)

    def _send_multi(self, session: int, req_id: int, account: Account, holding: Holding) -> None:
        message = self._position(account, holding)
        self._floor.send(
            session, rs.PositionMulti(req_id, account.name, message.contract, message.position, message.avg_cost)
        )

    # -------------------------------------------------------------------------------------------- multi (73)
    def updates_multi(self, session: Session, request: rq.ReqAccountUpdatesMulti) -> None:
        """Send account values under a request id."""
        if request.account and self._known(request.account) is None:
            self._invalid(session, request.req_id, request.account)
            return
        self._multi_updates[(session.session, request.req_id)] = request
        self._send_multi_values(session.session, request)
        self._floor.send(session.session, rs.AccountUpdateMultiEnd(request.req_id))

    def cancel_updates_multi(self, session: Session, request: rq.CancelAccountUpdatesMulti) -> None:
        """Stop an account values subscription."""
        self._multi_updates.pop((session.session, request.req_id), None)

    def _send_multi_values(self, session: int, request: rq.ReqAccountUpdatesMulti) -> None:
        for account in self._chosen(request.account):
            for tag, value, currency in self._values(account):
                self._floor.send(
                    session,
                    rs.AccountUpdateMulti(request.req_id, account.name, request.model_code, tag, value, currency),
                )

    # -------------------------------------------------------------------------------------------- summary (63)
    def account_summary(self, session: Session, request: rq.ReqAccountSummary) -> None:
        """Start an account summary; a third one is refused."""
        running = [key for key in self._summaries if key[0] == session.session]
        if len(running) >= MAX_SUMMARIES and (session.session, request.req_id) not in self._summaries:
            text = "Error processing request.-'bZ' : cause - Maximum number of account summary requests exceeded"
            self._floor.error(session.session, request.req_id, 322, text)
            return
        if request.group not in ("", "All") and self._known(request.group) is None:
            text = f"Error validating request.-'bZ' : cause - Invalid account group '{request.group}'."
            self._floor.error(session.session, request.req_id, 321, text)
            return
        tags = [tag.strip() for tag in request.tags.split(",") if tag.strip()]
        accounts = list(self._accounts) if request.group in ("", "All") else [request.group]
        self._summaries[(session.session, request.req_id)] = (accounts, tags)
        self._send_summary(session.session, request.req_id)
        self._floor.send(session.session, rs.AccountSummaryEnd(request.req_id))

    def cancel_summary(self, session: Session, request: rq.CancelAccountSummary) -> None:
        """Stop an account summary."""
        self._summaries.pop((session.session, request.req_id), None)

    def _send_summary(self, session: int, req_id: int) -> None:
        accounts, tags = self._summaries[(session, req_id)]
        for name in accounts:
            account = self._accounts.get(name)
            if account is None:
                continue
            summary = self._fills.summary(account)
            known = {tag: (value, currency) for tag, value, currency in base_values(account, summary)}
            for tag in SUMMARY_TAGS if "All" in tags else tags:
                for label, value, currency in self._summary_values(account, summary, tag, known):
                    self._floor.send(session, rs.AccountSummary(req_id, name, label, value, currency))

    def _summary_values(
        self, account: Account, summary: Summary, tag: str, known: dict[str, tuple[str, str]]
    ) -> list[Value]:
        if tag.startswith("$LEDGER"):
            wanted = tag.partition(":")[2] or account.base
            rows = currency_values(account, summary, self._fills.rate, self._fills.mark)
            return [row for row in rows if wanted == "ALL" or row[2] == wanted]
        if tag in known:
            value, currency = known[tag]
            return [(tag, value, currency)]
        return []

    # -------------------------------------------------------------------------------------------- profit (94, 95)
    def pnl(self, session: Session, request: rq.ReqPnL) -> None:
        """Start the profit stream of an account."""
        if self._known(request.account) is None:
            self._invalid(session, request.req_id, request.account)
            return
        self._pnl[(session.session, request.req_id)] = request.account
        self._send_one_pnl(session.session, request.req_id, request.account)

    def cancel_pnl(self, session: Session, request: rq.CancelPnL) -> None:
        """Stop a profit stream."""
        if self._pnl.pop((session.session, request.req_id), None) is None:
            self._floor.error(session.session, request.req_id, 10185, "Failed to cancel PNL (not subscribed)")

    def pnl_single(self, session: Session, request: rq.ReqPnLSingle) -> None:
        """Start the profit stream of one position."""
        if self._known(request.account) is None:
            self._invalid(session, request.req_id, request.account)
            return
        self._pnl_single[(session.session, request.req_id)] = (request.account, request.con_id)
        self._send_one_single(session.session, request.req_id, request.account, request.con_id)

    def cancel_pnl_single(self, session: Session, request: rq.CancelPnLSingle) -> None:
        """Stop the profit stream of a position."""
        if self._pnl_single.pop((session.session, request.req_id), None) is None:
            self._floor.error(session.session, request.req_id, 10186, "Failed to cancel PNL single (not subscribed)")

    def _send_pnl(self) -> None:
        self._floor.later(self._floor.config.pnl_period_ns, self._send_pnl)
        for (session, req_id), account in self._pnl.items():
            self._send_one_pnl(session, req_id, account)
        for (session, req_id), (account, con_id) in self._pnl_single.items():
            self._send_one_single(session, req_id, account, con_id)

    def _send_one_pnl(self, session: int, req_id: int, name: str) -> None:
        account = self._known(name)
        if account is None:
            return
        summary = self._fills.summary(account)
        daily = summary.net_liquidation - account.previous_equity
        self._floor.send(session, rs.PnL(req_id, _cents(daily), _cents(summary.unrealized), _cents(summary.realized)))

    def _send_one_single(self, session: int, req_id: int, name: str, con_id: int) -> None:
        account = self._known(name)
        holding = account.holdings.get(con_id) if account else None
        if holding is None:
            self._floor.send(session, rs.PnLSingle(req_id, 0.0, 0.0, 0.0, 0.0, 0.0))
            return
        mark = price_of(self._floor.mark(holding.instrument))
        unrealized = holding.unrealized(mark) if holding.quantity else Decimal(0)
        daily = unrealized + holding.realized_today
        self._floor.send(
            session,
            rs.PnLSingle(
                req_id, float(holding.quantity), _cents(daily), _cents(unrealized), _cents(holding.realized_today),
                _cents(holding.value(mark)),
            ),
        )  # fmt: skip

    # -------------------------------------------------------------------------------------------- upkeep
    def forget(self, session: int) -> None:
        """Drop the subscriptions of a session that has ended."""
        self._updates.pop(session, None)
        self._positions.discard(session)
        for table in (
            self._summaries, self._multi_updates, self._multi_positions, self._pnl, self._pnl_single,
        ):  # fmt: skip
            for key in [key for key in table if key[0] == session]:
                del table[key]

    def _refresh(self) -> None:
        self._floor.later(self._floor.config.summary_period_ns, self._refresh)
        for session, name in self._updates.items():
            self._send_account(session, self._accounts[name])
        for session, req_id in self._summaries:
            self._send_summary(session, req_id)
            self._floor.send(session, rs.AccountSummaryEnd(req_id))
        for (session, _), request in self._multi_updates.items():
            self._send_multi_values(session, request)

    def _on_position(self, name: str, con_id: int) -> None:
        account = self._accounts[name]
        holding = account.holdings[con_id]
        floor = self._floor
        for session in self._positions:
            floor.send_broker(session, self._position(account, holding))
        for (session, req_id), wanted in self._multi_positions.items():
            if wanted in ("", name):
                self._send_multi(session, req_id, account, holding)
        portfolio = self._portfolio(account, holding)
        for session in self._watching(name):
            floor.send_broker(session, portfolio)
        self._on_account(name)

    def _on_account(self, name: str) -> None:
        self._floor.touched_accounts.add(name)
        watching = self._watching(name)
        if not watching:
            return
        values = [rs.AccountValue(tag, value, ccy, name) for tag, value, ccy in self._changing(self._accounts[name])]
        for session in watching:
            for message in values:
                self._floor.send_broker(session, message)

    def _watching(self, name: str) -> list[int]:
        return [session for session, watched in self._updates.items() if watched == name]

    def _changing(self, account: Account) -> list[Value]:
        summary = self._fills.summary(account)
        fixed = (
            "Account",
            "DayTrades",
            "HighestSeverity",
            "LookAheadNextChange",
            "Currency",
            "RealCurrency",
        )
        rows = base_values(account, summary) + currency_values(account, summary, self._fills.rate, self._fills.mark)
        return [row for row in rows if not row[0].startswith(fixed)]

    def _known(self, name: str) -> Account | None:
        if not name and len(self._accounts) == 1:
            return next(iter(self._accounts.values()))
        return self._accounts.get(name)

    def _chosen(self, name: str) -> list[Account]:
        return [account for account in self._accounts.values() if name in ("", account.name)]

    def _invalid(self, session: Session, req_id: int, name: str) -> None:
        text = f"Error validating request.-'bK' : cause - Invalid account code '{name}'."
        self._floor.error(session.session, req_id, 321, text)


def _cents(amount: Decimal) -> float:
    return float(round(amount, 2))
