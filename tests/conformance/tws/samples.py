"""One good message of every kind, as the simulator would send it, for feeding other people's decoders."""

from __future__ import annotations

from decimal import Decimal

from shared.tws import responses as r
from shared.tws.contract import ComboLeg, DeltaNeutralContract, OrderComboLeg, TwsContract
from shared.tws.fields import TagValue
from shared.tws.order import (
    ExecutionCondition,
    MarginCondition,
    OrderState,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    TwsOrder,
    VolumeCondition,
)
from shared.tws.responses_account import FamilyCode, SoftDollarTier
from shared.tws.responses_contract import PriceIncrement, SymbolSample
from shared.tws.responses_market import (
    DepthExchange,
    HistogramEntry,
    HistoricalBar,
    HistoricalTick,
    HistoricalTickBidAsk,
    HistoricalTickLast,
    NewsProvider,
    ScannerRow,
    ScheduleSession,
    SmartComponent,
    TickByTickBidAsk,
    TickByTickLast,
    TickByTickMidPoint,
)

AAPL = TwsContract(
    con_id=265598, symbol="AAPL", sec_type="STK", right="?", exchange="SMART", primary_exchange="NASDAQ",
    currency="USD", local_symbol="AAPL", trading_class="NMS",
)  # fmt: skip
OPTION = TwsContract(
    con_id=7, symbol="SPY", sec_type="OPT", last_trade_date="20261218", strike=500.5, right="C", multiplier="100",
    exchange="SMART", currency="USD", local_symbol="SPY   261218C00500500", trading_class="SPY",
)  # fmt: skip
COMBO = TwsContract(
    con_id=28812380, symbol="SPY", sec_type="BAG", exchange="SMART", currency="USD", combo_legs_description="1|1,2|-1",
    combo_legs=(ComboLeg(1, 1, "BUY", "SMART"), ComboLeg(2, 1, "SELL", "SMART")),
    delta_neutral=DeltaNeutralContract(43645865, 0.6, 12.5),
)  # fmt: skip
LIMIT = TwsOrder(
    action="BUY", total_quantity=Decimal(100), order_type="LMT", lmt_price=Decimal("10.25"), tif="DAY", account="DUSIM1",
    order_ref="cqaaaaaa-bbbbbbbbbbbbbbbbbbbb-00", clearing_intent="IB", delta_neutral_order_type="None",
    adjusted_order_type="None", dont_use_auto_price_for_hedge=True, oca_type=3,
)  # fmt: skip
MARKET = TwsOrder(
    action="SELL", total_quantity=Decimal("0.5"), order_type="MKT", tif="GTC", account="DUSIM1", parent_id=4
)
RICH = TwsOrder(
    action="BUY", total_quantity=Decimal(5), order_type="PEG BENCH", aux_price=Decimal("1.5"), hedge_type="D", hedge_param="1",
    algo_strategy="Adaptive", algo_params=(TagValue("adaptivePriority", "Normal"),), scale_price_increment=Decimal("0.1"),
    scale_init_level_size=2, scale_subs_level_size=1, smart_combo_routing_params=(TagValue("NonGuaranteed", "1"),),
    order_combo_legs=(OrderComboLeg(Decimal("1.25")), OrderComboLeg()), reference_contract_id=5,
    pegged_change_amount=Decimal("0.1"), reference_change_amount=Decimal("0.2"), reference_exchange_id="NYSE",
    conditions=(
        PriceCondition("a", True, Decimal("10.5"), 265598, "SMART", 2), TimeCondition("o", False, "20261124 10:00:00 UTC"),
        MarginCondition("a", True, 30), ExecutionCondition("a", "STK", "SMART", "IBM"),
        VolumeCondition("a", True, 1000, 265598, "SMART"), PercentChangeCondition("a", False, Decimal("2.5"), 265598, "SMART"),
    ),
    conditions_cancel_order=True, soft_dollar_name="n", soft_dollar_value="v", soft_dollar_display_name="d",
    cash_qty=Decimal(1000), use_price_mgmt_algo=True, duration=30, post_to_ats=1, auto_cancel_parent=True, min_trade_qty=1,
    min_compete_size=100, compete_against_best_offset=Decimal("0.02"), mid_offset_at_whole=Decimal("0.1"),
    mid_offset_at_half=Decimal("0.05"), trail_stop_price=Decimal("9.5"), what_if=True,
)  # fmt: skip
WHAT_IF = OrderState(
    "PreSubmitted", Decimal(0), Decimal(1), Decimal(2), Decimal(3), Decimal(4), Decimal(5), Decimal(6), Decimal(7),
    Decimal(8), Decimal(1), Decimal("0.5"), Decimal(2), "USD", "careful",
)  # fmt: skip

RESPONSES: tuple[r.Response, ...] = (
    r.TickPrice(1, 4, 101.25, 300, 1),
    r.TickSize(1, 5, 100),
    r.OrderStatus(7, "Submitted", Decimal(0), Decimal(100), 0.0, 1234567, 0, 0.0, 3),
    r.ErrorMessage(7, 201, "Order rejected - reason:déjà vu"),
    r.OpenOrder(7, 3, 1234567, AAPL, LIMIT, OrderState("Submitted"), "1234567.0/DUSIM1/100"),
    r.OpenOrder(8, 3, 1234568, AAPL, MARKET, OrderState("PreSubmitted")),
    r.OpenOrder(9, 3, 1234569, COMBO, RICH, WHAT_IF),
    r.AccountValue("NetLiquidation", "1000000.00", "USD", "DUSIM1"),
    r.PortfolioValue(OPTION, Decimal(3), 1.25, 375.0, 120.5, 13.5, 0.0, "DUSIM1"),
    r.AccountUpdateTime("10:30"),
    r.NextValidId(1),
    r.ContractDetails(
        5, AAPL, market_name="NMS", long_name="APPLE INC é", order_types="LMT,MKT", valid_exchanges="SMART,NYSE",
        market_rule_ids="26,26", sec_id_list=(TagValue("ISIN", "US0378331005"),), time_zone_id="US/Eastern",
        trading_hours="20261123:0930-20261123:1600", liquid_hours="20261123:0930-20261123:1600", stock_type="COMMON",
        min_size=Decimal("0.0001"), size_increment=Decimal("0.0001"),
    ),
    r.ContractDetails(6, OPTION, last_trade_date_and_time="20261218 16:00:00 US/Eastern", min_tick=0.05),
    # ib_insync reads a coupon as a whole number and drops bonds that have another: its own bug.
    r.BondContractDetails(7, TwsContract(con_id=9, symbol="US-T", sec_type="BOND", exchange="SMART", currency="USD"),
                          cusip="912828C57", coupon=2.0, maturity="20300101", min_tick=0.001),
    r.ExecDetails(-1, 7, AAPL, "0000e1a7.5c46793a.01.01", "20261123 10:00:00 America/New_York", "DUSIM1", "NASDAQ",
                  "BOT", Decimal(100), 10.25, 1234567, 3, 0, Decimal(100), 10.25, LIMIT.order_ref, last_liquidity=1),
    r.MarketDepth(1, 0, 0, 1, 10.0, 100),
    r.MarketDepthL2(1, 0, "NSDQ", 0, 1, 10.0, 100, True),
    r.NewsBulletin(1, 1, "hello", "NYSE"),
    r.ManagedAccounts("DUSIM1,DUSIM2"),
    r.ReceiveFA(1, "<xml/>"),
    r.HistoricalData(3, "20261122 10:00:00", "20261123 10:00:00",
                     (HistoricalBar("20261123", 1.0, 2.0, 0.5, 1.5, 1000, 1.25, 17),)),
    r.ScannerParameters("<xml/>"),
    r.ScannerData(4, (ScannerRow(0, AAPL, "NMS", "NMS"),)),
    r.TickOptionComputation(1, 13, 1, 0.25, 0.5, 1.5, 0.0, 0.01, 0.2, -0.1, 500.0),
    r.TickGeneric(1, 49, 0.0),
    r.TickString(1, 45, "1763892000"),
    r.TickEFP(1, 38, 1.0, "1.0", 100.0, 3, "20261218", 0.1, 0.2),
    r.CurrentTime(1763892000),
    r.RealTimeBar(2, 1763892000, 1.0, 2.0, 0.5, 1.5, 1000, 1.25, 17),
    r.FundamentalData(2, "<xml/>"),
    r.ContractDetailsEnd(5),
    r.OpenOrderEnd(),
    r.AccountDownloadEnd("DUSIM1"),
    r.ExecDetailsEnd(9),
    r.DeltaNeutralValidation(1, 43645865, 0.6, 12.5),
    r.TickSnapshotEnd(1),
    r.MarketDataType(1, 3),
    r.CommissionReport("0000e1a7.5c46793a.01.01", Decimal("1.0"), "USD"),
    r.Position("DUSIM1", AAPL, Decimal("-100"), 10.26),
    r.PositionEnd(),
    r.AccountSummary(1, "DUSIM1", "NetLiquidation", "1000000.00", "USD"),
    r.AccountSummaryEnd(1),
    r.DisplayGroupList(1, "1|2"),
    r.DisplayGroupUpdated(1, "265598@SMART"),
    r.PositionMulti(1, "DUSIM1", AAPL, Decimal(100), 10.26, ""),
    r.PositionMultiEnd(1),
    r.AccountUpdateMulti(1, "DUSIM1", "", "NetLiquidation", "1000000.00", "USD"),
    r.AccountUpdateMultiEnd(1),
    r.SecDefOptParams(1, "SMART", 756733, "SPY", "100", ("20261218", "20270115"), (500.0, 505.0)),
    r.SecDefOptParamsEnd(1),
    r.SoftDollarTiers(1, (SoftDollarTier("a", "b", "c"),)),
    r.FamilyCodes((FamilyCode("DUSIM1", ""),)),
    r.SymbolSamples(1, (SymbolSample(265598, "AAPL", "STK", "NASDAQ", "USD", ("OPT", "WAR"), "APPLE INC"),)),
    r.MktDepthExchanges((DepthExchange("NASDAQ", "STK", "NASDAQ", "Deep2", 1),)),
    r.TickReqParams(1, 0.01, "9c0001", 3),
    r.SmartComponents(1, (SmartComponent(0, "NYSE", "N"),)),
    r.NewsArticle(1, 0, "text"),
    r.TickNews(1, 1763892000000, "BRFG", "BRFG$1", "head", ""),
    r.NewsProviders((NewsProvider("BRFG", "Briefing"),)),
    r.HistoricalNews(1, "2026-11-23 10:00:00.0", "BRFG", "BRFG$1", "head"),
    r.HistoricalNewsEnd(1, False),
    r.HeadTimestamp(1, "19801212-14:30:00"),
    r.HistogramData(1, (HistogramEntry(10.25, 100),)),
    r.HistoricalDataUpdate(3, 17, "20261123", 1.0, 1.5, 2.0, 0.5, 1.25, 1000),
    r.RerouteMktData(1, 265598, "SMART"),
    r.RerouteMktDepth(1, 265598, "SMART"),
    r.MarketRule(26, (PriceIncrement(0.0, 0.0001), PriceIncrement(1.0, 0.01))),
    r.PnL(1, 10.5, 3.25, None),
    r.PnLSingle(1, 100, 10.5, 3.25, None, 1025.0),
    r.HistoricalTicks(1, (HistoricalTick(1763892000, 0, 10.25, 0),)),
    r.HistoricalTicksBidAsk(1, (HistoricalTickBidAsk(1763892000, 1, 10.0, 10.5, 100, 200),)),
    r.HistoricalTicksLast(1, (HistoricalTickLast(1763892000, 2, 10.25, 100, "NYSE", "T"),)),
    r.TickByTick(1, 1, 1763892000, TickByTickLast(10.25, 100, 1, "NYSE", "T")),
    r.TickByTick(1, 3, 1763892000, TickByTickBidAsk(10.0, 10.5, 100, 200, 2)),
    r.TickByTick(1, 4, 1763892000, TickByTickMidPoint(10.25)),
    r.OrderBound(1234567, 0, -3),
    r.CompletedOrder(1234567, AAPL, LIMIT, OrderState("Filled", completed_time="20261123 10:00:00 America/New_York",
                     completed_status="Filled Size: 100"), filled_quantity=Decimal(100)),
    r.CompletedOrder(1234569, COMBO, RICH, OrderState("Cancelled", completed_time="20261123 10:00:00 UTC",
                     completed_status="Cancelled by Trader")),
    r.CompletedOrdersEnd(),
    r.ReplaceFAEnd(1, "ok"),
    r.WshMetaData(1, "{}"),
    r.WshEventData(1, "{}"),
    r.HistoricalSchedule(1, "20261123-09:30:00", "20261123-16:00:00", "US/Eastern",
                         (ScheduleSession("20261123-09:30:00", "20261123-16:00:00", "20261123"),)),
    r.UserInfo(1, ""),
)  # fmt: skip
