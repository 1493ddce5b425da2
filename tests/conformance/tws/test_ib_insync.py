"""ib_insync's own encoder and decoder agree with ours, byte for byte where it matters, at the versions it speaks."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any, cast

import ib_insync
import pytest
from ib_insync.client import Client
from ib_insync.decoder import Decoder

from shared.tws import requests as q
from shared.tws import responses as r
from shared.tws.contract import TwsContract
from shared.tws.framing import FrameReader
from shared.tws.order import OrderState
from tests.conformance.tws.samples import AAPL, COMBO, LIMIT, RESPONSES, RICH, WHAT_IF

VERSIONS = (157, 159, 160, 162, 163, 164, 166, 169, 170, 176)


class Recorder:
    """Stands where ib_insync's Wrapper stands, and remembers every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.ib = ib_insync.IB()

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.calls.append((name, args))


def decode(response: r.Response, version: int) -> list[tuple[str, tuple[Any, ...]]]:
    recorder = Recorder()
    payload = r.encode_response(response, version)
    Decoder(cast(Any, recorder), version).interpret(payload.decode().split("\0")[:-1])
    return recorder.calls


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("response", RESPONSES, ids=lambda m: type(m).__name__)
def test_its_decoder_takes_every_response_without_complaint(response, version, caplog):
    with caplog.at_level(logging.ERROR):
        calls = decode(response, version)
    assert calls, "the decoder called nothing"
    assert not caplog.records, caplog.text


@pytest.mark.parametrize("version", VERSIONS)
def test_an_open_order_arrives_with_every_value(version):
    ((name, (order_id, contract, order, state)),) = decode(r.OpenOrder(9, 3, 77, COMBO, RICH, WHAT_IF), version)
    assert (name, order_id, order.clientId, order.permId) == ("openOrder", 9, 3, 77)
    assert contract.comboLegs[1].action == "SELL"
    assert contract.comboLegsDescrip == "1|1,2|-1"
    assert contract.deltaNeutralContract.price == 12.5
    assert (order.orderType, order.auxPrice, order.hedgeParam) == ("PEG BENCH", 1.5, "1")
    assert [leg.price for leg in order.orderComboLegs] == [1.25, ib_insync.util.UNSET_DOUBLE]
    assert order.scalePriceIncrement == 0.1
    assert [(p.tag, p.value) for p in order.algoParams] == [("adaptivePriority", "Normal")]
    assert len(order.conditions) == 6
    assert order.conditions[0].price == 10.5
    assert order.conditionsCancelOrder
    assert (order.trailStopPrice, order.cashQty, order.whatIf, order.usePriceMgmtAlgo) == (9.5, 1000.0, True, True)
    assert (state.status, state.initMarginChange, state.commission) == ("PreSubmitted", "3", 1.0)
    assert (state.commissionCurrency, state.warningText) == ("USD", "careful")
    assert order.duration == (30 if version >= 159 else ib_insync.util.UNSET_INTEGER)
    assert order.autoCancelParent == (version >= 162)
    assert order.midOffsetAtHalf == (0.05 if version >= 170 else ib_insync.util.UNSET_DOUBLE)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plain_open_order_has_ib_insyncs_idea_of_unset(version):
    ((_, (_, _, order, state)),) = decode(r.OpenOrder(9, 3, 77, AAPL, LIMIT, OrderState("Submitted")), version)
    unset = ib_insync.Order()
    for name in ("minQty", "percentOffset", "volatility", "scalePriceIncrement", "nbboPriceCap", "trailingPercent"):
        assert getattr(order, name) == getattr(unset, name), name
    assert (order.lmtPrice, order.auxPrice, order.orderRef) == (10.25, 0.0, LIMIT.order_ref)
    assert state.commission == ib_insync.util.UNSET_DOUBLE


@pytest.mark.parametrize("version", VERSIONS)
def test_a_completed_order_arrives_with_every_value(version):
    message = r.CompletedOrder(
        77, COMBO, RICH, OrderState("Filled", completed_time="t", completed_status="s"), filled_quantity=Decimal("2.5")
    )
    ((name, (contract, order, state)),) = decode(message, version)
    assert (name, order.permId, order.filledQuantity) == ("completedOrder", 77, 2.5)
    assert (state.status, state.completedTime, state.completedStatus) == ("Filled", "t", "s")
    assert (order.parentPermId, order.autoCancelParent) == (2**63 - 1, True)
    assert contract.comboLegs[0].conId == 1
    assert order.minCompeteSize == (100 if version >= 170 else ib_insync.util.UNSET_INTEGER)


def test_contract_details_texts_come_out_of_their_escapes():
    details = next(m for m in RESPONSES if isinstance(m, r.ContractDetails))
    ((_, (req_id, seen)),) = decode(details, 176)
    assert (req_id, seen.longName, seen.contract.conId) == (5, "APPLE INC é", 265598)
    assert (seen.minSize, seen.marketRuleIds, seen.contract.primaryExchange) == (0.0001, "26,26", "NASDAQ")


# ------------------------------------------------------------------------------------------------ its requests
class Sender(Client):
    """ib_insync's Client with the socket cut off."""

    def __init__(self, version: int) -> None:
        super().__init__(wrapper=Recorder())
        self._serverVersion = version
        self.connState = Client.CONNECTED
        self.MaxRequests = 0
        self.sent = bytearray()
        self.conn.sendMsg = self.sent.extend  # type: ignore[method-assign]

    def one(self) -> bytes:
        (payload,) = FrameReader().receive_data(bytes(self.sent))
        return payload


STOCK = ib_insync.Stock("AAPL", "SMART", "USD", primaryExchange="NASDAQ", conId=265598)
BAG = ib_insync.Contract(
    secType="BAG",
    symbol="SPY",
    exchange="SMART",
    currency="USD",
    comboLegs=[ib_insync.ComboLeg(1, 1, "BUY", "SMART"), ib_insync.ComboLeg(2, 1, "SELL", "SMART")],
    deltaNeutralContract=ib_insync.DeltaNeutralContract(5, 0.5, 1.5),
)
TAGS = [ib_insync.TagValue("a", "b")]
CALLS: list[tuple[str, tuple[Any, ...], type]] = [
    ("reqMktData", (1, STOCK, "233", False, False, []), q.ReqMktData),
    ("reqMktData", (1, BAG, "", True, False, TAGS), q.ReqMktData),
    ("cancelMktData", (1,), q.CancelMktData),
    ("cancelOrder", (7,), q.CancelOrder),
    ("reqOpenOrders", (), q.ReqOpenOrders),
    ("reqAccountUpdates", (True, "DUSIM1"), q.ReqAccountUpdates),
    ("reqExecutions", (1, ib_insync.ExecutionFilter()), q.ReqExecutions),
    ("reqIds", (1,), q.ReqIds),
    ("reqContractDetails", (1, STOCK), q.ReqContractDetails),
    ("reqMktDepth", (1, STOCK, 5, True, []), q.ReqMktDepth),
    ("cancelMktDepth", (1, True), q.CancelMktDepth),
    ("reqNewsBulletins", (True,), q.ReqNewsBulletins),
    ("cancelNewsBulletins", (), q.CancelNewsBulletins),
    ("setServerLogLevel", (5,), q.SetServerLogLevel),
    ("reqAutoOpenOrders", (True,), q.ReqAutoOpenOrders),
    ("reqAllOpenOrders", (), q.ReqAllOpenOrders),
    ("reqManagedAccts", (), q.ReqManagedAccounts),
    ("requestFA", (1,), q.RequestFA),
    ("replaceFA", (1, 1, "<xml/>"), q.ReplaceFA),
    ("reqHistoricalData", (1, STOCK, "", "1 D", "1 min", "TRADES", True, 1, False, []), q.ReqHistoricalData),
    ("reqHistoricalData", (1, BAG, "", "1 D", "1 min", "TRADES", True, 2, True, TAGS), q.ReqHistoricalData),
    ("exerciseOptions", (1, STOCK, 1, 3, "DUSIM1", 0), q.ExerciseOptions),
    ("reqScannerSubscription", (1, ib_insync.ScannerSubscription(), [], TAGS), q.ReqScannerSubscription),
    ("cancelScannerSubscription", (1,), q.CancelScannerSubscription),
    ("reqScannerParameters", (), q.ReqScannerParameters),
    ("cancelHistoricalData", (1,), q.CancelHistoricalData),
    ("reqCurrentTime", (), q.ReqCurrentTime),
    ("reqRealTimeBars", (1, STOCK, 5, "TRADES", False, []), q.ReqRealTimeBars),
    ("cancelRealTimeBars", (1,), q.CancelRealTimeBars),
    ("reqFundamentalData", (1, STOCK, "ReportSnapshot", []), q.ReqFundamentalData),
    ("cancelFundamentalData", (1,), q.CancelFundamentalData),
    ("calculateImpliedVolatility", (1, STOCK, 1.5, 10.0, TAGS), q.CalculateImpliedVolatility),
    ("calculateOptionPrice", (1, STOCK, 0.5, 10.0, []), q.CalculateOptionPrice),
    ("cancelCalculateImpliedVolatility", (1,), q.CancelCalculateImpliedVolatility),
    ("cancelCalculateOptionPrice", (1,), q.CancelCalculateOptionPrice),
    ("reqGlobalCancel", (), q.ReqGlobalCancel),
    ("reqMarketDataType", (3,), q.ReqMarketDataType),
    ("reqPositions", (), q.ReqPositions),
    ("reqAccountSummary", (1, "All", "NetLiquidation"), q.ReqAccountSummary),
    ("cancelAccountSummary", (1,), q.CancelAccountSummary),
    ("cancelPositions", (), q.CancelPositions),
    ("verifyRequest", ("n", "1"), q.VerifyRequest),
    ("verifyMessage", ("d",), q.VerifyMessage),
    ("queryDisplayGroups", (1,), q.QueryDisplayGroups),
    ("subscribeToGroupEvents", (1, 2), q.SubscribeToGroupEvents),
    ("updateDisplayGroup", (1, "none"), q.UpdateDisplayGroup),
    ("unsubscribeFromGroupEvents", (1,), q.UnsubscribeFromGroupEvents),
    ("startApi", (), q.StartApi),
    ("verifyAndAuthRequest", ("n", "1", "k"), q.VerifyAndAuthRequest),
    ("verifyAndAuthMessage", ("d", "x"), q.VerifyAndAuthMessage),
    ("reqPositionsMulti", (1, "DUSIM1", ""), q.ReqPositionsMulti),
    ("cancelPositionsMulti", (1,), q.CancelPositionsMulti),
    ("reqAccountUpdatesMulti", (1, "DUSIM1", "", False), q.ReqAccountUpdatesMulti),
    ("cancelAccountUpdatesMulti", (1,), q.CancelAccountUpdatesMulti),
    ("reqSecDefOptParams", (1, "SPY", "", "STK", 756733), q.ReqSecDefOptParams),
    ("reqSoftDollarTiers", (1,), q.ReqSoftDollarTiers),
    ("reqFamilyCodes", (), q.ReqFamilyCodes),
    ("reqMatchingSymbols", (1, "AAP"), q.ReqMatchingSymbols),
    ("reqMktDepthExchanges", (), q.ReqMktDepthExchanges),
    ("reqSmartComponents", (1, "9c0001"), q.ReqSmartComponents),
    ("reqNewsArticle", (1, "BRFG", "BRFG$1", []), q.ReqNewsArticle),
    ("reqNewsProviders", (), q.ReqNewsProviders),
    ("reqHistoricalNews", (1, 265598, "BRFG", "", "", 10, []), q.ReqHistoricalNews),
    ("reqHeadTimeStamp", (1, STOCK, "TRADES", True, 1), q.ReqHeadTimestamp),
    ("reqHistogramData", (1, STOCK, True, "3 days"), q.ReqHistogramData),
    ("cancelHistogramData", (1,), q.CancelHistogramData),
    ("cancelHeadTimeStamp", (1,), q.CancelHeadTimestamp),
    ("reqMarketRule", (26,), q.ReqMarketRule),
    ("reqPnL", (1, "DUSIM1", ""), q.ReqPnL),
    ("cancelPnL", (1,), q.CancelPnL),
    ("reqPnLSingle", (1, "DUSIM1", "", 265598), q.ReqPnLSingle),
    ("cancelPnLSingle", (1,), q.CancelPnLSingle),
    ("reqHistoricalTicks", (1, STOCK, "", "", 10, "TRADES", 1, False, []), q.ReqHistoricalTicks),
    ("reqTickByTickData", (1, STOCK, "BidAsk", 0, True), q.ReqTickByTick),
    ("cancelTickByTickData", (1,), q.CancelTickByTick),
    ("reqCompletedOrders", (True,), q.ReqCompletedOrders),
    ("reqWshMetaData", (1,), q.ReqWshMetaData),
    ("cancelWshMetaData", (1,), q.CancelWshMetaData),
    ("reqWshEventData", (1, ib_insync.WshEventData()), q.ReqWshEventData),
    ("cancelWshEventData", (1,), q.CancelWshEventData),
    ("reqUserInfo", (1,), q.ReqUserInfo),
]


def test_every_request_class_is_tried():
    later = {q.ReqCurrentTimeInMillis}  # from 197, which ib_insync does not speak
    assert {cls for _, _, cls in CALLS} | {q.PlaceOrder} | later == set(q.REQUESTS.classes)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method, args, cls", CALLS, ids=lambda value: value if isinstance(value, str) else "")
def test_its_requests_are_used_up_exactly(method, args, cls, version):
    client = Sender(version)
    client.clientId = 3
    getattr(client, method)(*args)
    request = q.decode_request(client.one(), version)
    assert type(request) is cls
    assert q.decode_request(q.encode_request(request, version), version) == request


ORDERS = [
    ib_insync.MarketOrder("BUY", 100),
    ib_insync.LimitOrder("SELL", 0.5, 10.25, tif="GTC", account="DUSIM1", orderRef="ref", outsideRth=True),
    ib_insync.StopLimitOrder("BUY", 1, 10.5, 10.0, parentId=5, transmit=False, ocaGroup="g", ocaType=1),
    ib_insync.Order(action="BUY", totalQuantity=1, orderType="PEG BENCH", referenceContractId=5, whatIf=True),
    ib_insync.Order(action="BUY", totalQuantity=1, orderType="PEG BEST", competeAgainstBestOffset=float("inf")),
    ib_insync.Order(action="BUY", totalQuantity=1, orderType="PEG MID", midOffsetAtWhole=0.5),
    ib_insync.Order(
        action="BUY",
        totalQuantity=1,
        orderType="LMT",
        lmtPrice=1.0,
        algoStrategy="Adaptive",
        algoParams=TAGS,
        hedgeType="D",
        hedgeParam="1",
        scalePriceIncrement=0.1,
        deltaNeutralOrderType="MKT",
        orderMiscOptions=TAGS,
        conditions=[ib_insync.PriceCondition(1, "a", True, 10.5, 1, "SMART", 0), ib_insync.TimeCondition(time="t")],
    ),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("contract", [STOCK, BAG, ib_insync.Stock("IBM", "IBKRATS", "USD")], ids=["stk", "bag", "ats"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.orderType)
def test_its_orders_are_used_up_exactly(order, contract, version):
    client = Sender(version)
    client.placeOrder(7, contract, order)
    request = q.decode_request(client.one(), version)
    assert isinstance(request, q.PlaceOrder)
    assert request.order_id == 7
    seen = request.order
    assert (seen.action, seen.order_type, seen.total_quantity) == (
        order.action,
        order.orderType,
        Decimal(str(order.totalQuantity)),
    )
    assert (seen.tif, seen.order_ref, seen.transmit, seen.what_if) == (
        order.tif,
        order.orderRef,
        order.transmit,
        order.whatIf,
    )
    assert seen.lmt_price == (None if order.lmtPrice > 1e300 else Decimal(str(order.lmtPrice)))
    assert len(seen.conditions) == len(order.conditions)
    assert len(request.contract.combo_legs) == len(contract.comboLegs)
    assert q.decode_request(q.encode_request(request, version), version) == request


def test_a_plain_limit_order_has_the_measured_number_of_fields():
    client = Sender(176)
    client.placeOrder(7, STOCK, ib_insync.LimitOrder("BUY", 100, 10.25))
    assert client.one().count(b"\0") == 115  # ib-facts B.8
    ours = q.PlaceOrder(7, TwsContract(con_id=1, symbol="AAPL", sec_type="STK"), LIMIT)
    assert q.encode_request(ours, 176).count(b"\0") == 115 + 8  # with "None" as delta-neutral type
