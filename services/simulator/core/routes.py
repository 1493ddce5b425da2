"""Say which desk answers which request; a test holds it against the codec's list of requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from services.simulator.core.contracts import NotFound
from services.simulator.core.market import NS_PER_MS, NS_PER_S
from services.simulator.core.sessions import Session
from shared.tws import requests as rq
from shared.tws import responses as rs

if TYPE_CHECKING:
    from services.simulator.core.engine import Engine

NOTHING_TO_EXERCISE = "Error processing request.-'cC' : cause - There are no options to exercise"
Route = Callable[[Session, Any], None]


def routes(engine: Engine) -> dict[type, Route]:
    """Return the answering function of every request but START_API."""
    floor, orders, queries = engine.floor, engine.orders, engine.queries
    data, history, account, reference = engine.data, engine.history, engine.account_desk, engine.reference
    news, scanner, reports, advisor = engine.news, engine.scanner, engine.reports, engine.advisor

    def next_id(session: Session, _: rq.ReqIds) -> None:
        floor.send(session.session, rs.NextValidId(floor.sessions.next_order_id(session.client_id or 0)))

    def accounts(session: Session, _: rq.ReqManagedAccounts) -> None:
        floor.send(session.session, rs.ManagedAccounts(",".join(floor.config.accounts)))

    def current_time(session: Session, _: rq.ReqCurrentTime) -> None:
        floor.send(session.session, rs.CurrentTime(floor.now_ns // NS_PER_S))

    def current_millis(session: Session, _: rq.ReqCurrentTimeInMillis) -> None:
        floor.send(session.session, rs.CurrentTimeInMillis(floor.now_ns // NS_PER_MS))

    def exercise(session: Session, request: rq.ExerciseOptions) -> None:
        found = floor.universe.resolve(request.contract)
        account = request.account or floor.config.accounts[0]
        if isinstance(found, NotFound):
            floor.error(session.session, request.req_id, 200, found.text)
        elif request.action == 1 and not engine.events.exercise_for(account, found.instrument, request.quantity):
            floor.error(session.session, request.req_id, 322, NOTHING_TO_EXERCISE)

    table: dict[type, Route] = {
        rq.ReqIds: next_id,
        rq.ReqManagedAccounts: accounts,
        rq.ReqCurrentTime: current_time,
        rq.ReqCurrentTimeInMillis: current_millis,
        rq.SetServerLogLevel: reference.nothing,
        rq.PlaceOrder: orders.place,
        rq.CancelOrder: orders.cancel,
        rq.ExerciseOptions: exercise,
        rq.ReqGlobalCancel: lambda session, _: orders.global_cancel(session),
        rq.ReqOpenOrders: lambda session, _: queries.open_orders(session),
        rq.ReqAllOpenOrders: lambda session, _: queries.all_open_orders(session),
        rq.ReqAutoOpenOrders: queries.auto_open_orders,
        rq.ReqCompletedOrders: queries.completed_orders,
        rq.ReqExecutions: queries.executions,
        rq.ReqAccountUpdates: account.account_updates,
        rq.ReqPositions: account.positions,
        rq.CancelPositions: account.cancel_positions,
        rq.ReqPositionsMulti: account.positions_multi,
        rq.CancelPositionsMulti: account.cancel_positions_multi,
        rq.ReqAccountUpdatesMulti: account.updates_multi,
        rq.CancelAccountUpdatesMulti: account.cancel_updates_multi,
        rq.ReqAccountSummary: account.account_summary,
        rq.CancelAccountSummary: account.cancel_summary,
        rq.ReqPnL: account.pnl,
        rq.CancelPnL: account.cancel_pnl,
        rq.ReqPnLSingle: account.pnl_single,
        rq.CancelPnLSingle: account.cancel_pnl_single,
        rq.ReqMktData: data.market_data,
        rq.CancelMktData: data.cancel_market_data,
        rq.ReqMarketDataType: data.market_data_type,
        rq.ReqTickByTick: data.tick_by_tick,
        rq.CancelTickByTick: data.cancel_tick_by_tick,
        rq.ReqMktDepth: data.market_depth,
        rq.CancelMktDepth: data.cancel_market_depth,
        rq.ReqRealTimeBars: data.real_time_bars,
        rq.CancelRealTimeBars: data.cancel_real_time_bars,
        rq.ReqHistoricalData: history.bars,
        rq.CancelHistoricalData: history.cancel_bars,
        rq.ReqHeadTimestamp: history.head_timestamp,
        rq.CancelHeadTimestamp: history.cancel_nothing,
        rq.ReqHistogramData: history.histogram,
        rq.CancelHistogramData: history.cancel_nothing,
        rq.ReqHistoricalTicks: history.ticks,
        rq.ReqContractDetails: reference.contract_details,
        rq.ReqMatchingSymbols: reference.matching_symbols,
        rq.ReqMarketRule: reference.market_rule,
        rq.ReqSecDefOptParams: reference.option_parameters,
        rq.CalculateOptionPrice: reference.option_price,
        rq.CalculateImpliedVolatility: reference.implied_volatility,
        rq.CancelCalculateOptionPrice: reference.nothing,
        rq.CancelCalculateImpliedVolatility: reference.nothing,
        rq.ReqMktDepthExchanges: reference.depth_exchanges,
        rq.ReqSmartComponents: reference.smart_components,
        rq.ReqFamilyCodes: reference.family_codes,
        rq.ReqSoftDollarTiers: reference.soft_dollar_tiers,
        rq.ReqUserInfo: reference.user_info,
        rq.ReqScannerParameters: scanner.parameters,
        rq.ReqScannerSubscription: scanner.scan,
        rq.CancelScannerSubscription: scanner.cancel_scan,
        rq.ReqNewsProviders: news.providers,
        rq.ReqHistoricalNews: news.headlines,
        rq.ReqNewsArticle: news.article,
        rq.ReqNewsBulletins: news.bulletins,
        rq.CancelNewsBulletins: news.cancel_bulletins,
        rq.ReqFundamentalData: reports.fundamentals,
        rq.CancelFundamentalData: reference.nothing,
        rq.ReqWshMetaData: reports.calendar_meta,
        rq.CancelWshMetaData: reports.cancel_meta,
        rq.ReqWshEventData: reports.calendar,
        rq.CancelWshEventData: reports.cancel_calendar,
        rq.RequestFA: advisor.request,
        rq.ReplaceFA: advisor.replace,
        rq.QueryDisplayGroups: scanner.groups,
        rq.SubscribeToGroupEvents: scanner.subscribe_group,
        rq.UpdateDisplayGroup: scanner.update_group,
        rq.UnsubscribeFromGroupEvents: scanner.leave_group,
        rq.VerifyRequest: reference.verification,
        rq.VerifyMessage: reference.verification,
        rq.VerifyAndAuthRequest: reference.verification_with_key,
        rq.VerifyAndAuthMessage: reference.verification_with_key,
    }
    return table
