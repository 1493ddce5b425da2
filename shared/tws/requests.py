"""Decode and encode every request that a client of server version 157 to 200 can send.

Invariants:
1. `decode_request` uses a frame up exactly, or raises: a client that means something else is told so.
2. Texts are UTF-8 as clients send them; there are no escapes in this direction.

The request classes live in `requests_account`, `requests_data` and `place_order`; import them from here.

Source: ib-facts B.7, B.8.
"""

from __future__ import annotations

from shared.tws.layout import REQUESTS, Request, UnknownMessage
from shared.tws.place_order import (
    PlaceOrder,
)
from shared.tws.requests_account import (
    CancelAccountSummary,
    CancelAccountUpdatesMulti,
    CancelOrder,
    CancelPnL,
    CancelPnLSingle,
    CancelPositions,
    CancelPositionsMulti,
    ExerciseOptions,
    ReplaceFA,
    ReqAccountSummary,
    ReqAccountUpdates,
    ReqAccountUpdatesMulti,
    ReqAllOpenOrders,
    ReqAutoOpenOrders,
    ReqCompletedOrders,
    ReqCurrentTime,
    ReqCurrentTimeInMillis,
    ReqExecutions,
    ReqFamilyCodes,
    ReqGlobalCancel,
    ReqIds,
    ReqManagedAccounts,
    ReqOpenOrders,
    ReqPnL,
    ReqPnLSingle,
    ReqPositions,
    ReqPositionsMulti,
    ReqSoftDollarTiers,
    RequestFA,
    ReqUserInfo,
    SetServerLogLevel,
    StartApi,
    VerifyAndAuthMessage,
    VerifyAndAuthRequest,
    VerifyMessage,
    VerifyRequest,
)
from shared.tws.requests_data import (
    CalculateImpliedVolatility,
    CalculateOptionPrice,
    CancelCalculateImpliedVolatility,
    CancelCalculateOptionPrice,
    CancelFundamentalData,
    CancelHeadTimestamp,
    CancelHistogramData,
    CancelHistoricalData,
    CancelMktData,
    CancelMktDepth,
    CancelNewsBulletins,
    CancelRealTimeBars,
    CancelScannerSubscription,
    CancelTickByTick,
    CancelWshEventData,
    CancelWshMetaData,
    QueryDisplayGroups,
    ReqContractDetails,
    ReqFundamentalData,
    ReqHeadTimestamp,
    ReqHistogramData,
    ReqHistoricalData,
    ReqHistoricalNews,
    ReqHistoricalTicks,
    ReqMarketDataType,
    ReqMarketRule,
    ReqMatchingSymbols,
    ReqMktData,
    ReqMktDepth,
    ReqMktDepthExchanges,
    ReqNewsArticle,
    ReqNewsBulletins,
    ReqNewsProviders,
    ReqRealTimeBars,
    ReqScannerParameters,
    ReqScannerSubscription,
    ReqSecDefOptParams,
    ReqSmartComponents,
    ReqTickByTick,
    ReqWshEventData,
    ReqWshMetaData,
    SubscribeToGroupEvents,
    UnsubscribeFromGroupEvents,
    UpdateDisplayGroup,
)

__all__ = [
    "REQUESTS",
    "Request",
    "UnknownMessage",
    "decode_request",
    "encode_request",
    "request_id",
    "CalculateImpliedVolatility",
    "CalculateOptionPrice",
    "CancelAccountSummary",
    "CancelAccountUpdatesMulti",
    "CancelCalculateImpliedVolatility",
    "CancelCalculateOptionPrice",
    "CancelFundamentalData",
    "CancelHeadTimestamp",
    "CancelHistogramData",
    "CancelHistoricalData",
    "CancelMktData",
    "CancelMktDepth",
    "CancelNewsBulletins",
    "CancelOrder",
    "CancelPnL",
    "CancelPnLSingle",
    "CancelPositions",
    "CancelPositionsMulti",
    "CancelRealTimeBars",
    "CancelScannerSubscription",
    "CancelTickByTick",
    "CancelWshEventData",
    "CancelWshMetaData",
    "ExerciseOptions",
    "PlaceOrder",
    "QueryDisplayGroups",
    "ReplaceFA",
    "ReqAccountSummary",
    "ReqAccountUpdates",
    "ReqAccountUpdatesMulti",
    "ReqAllOpenOrders",
    "ReqAutoOpenOrders",
    "ReqCompletedOrders",
    "ReqContractDetails",
    "ReqCurrentTime",
    "ReqCurrentTimeInMillis",
    "ReqExecutions",
    "ReqFamilyCodes",
    "ReqFundamentalData",
    "ReqGlobalCancel",
    "ReqHeadTimestamp",
    "ReqHistogramData",
    "ReqHistoricalData",
    "ReqHistoricalNews",
    "ReqHistoricalTicks",
    "ReqIds",
    "ReqManagedAccounts",
    "ReqMarketDataType",
    "ReqMarketRule",
    "ReqMatchingSymbols",
    "ReqMktData",
    "ReqMktDepth",
    "ReqMktDepthExchanges",
    "ReqNewsArticle",
    "ReqNewsBulletins",
    "ReqNewsProviders",
    "ReqOpenOrders",
    "ReqPnL",
    "ReqPnLSingle",
    "ReqPositions",
    "ReqPositionsMulti",
    "ReqRealTimeBars",
    "ReqScannerParameters",
    "ReqScannerSubscription",
    "ReqSecDefOptParams",
    "ReqSmartComponents",
    "ReqSoftDollarTiers",
    "ReqTickByTick",
    "ReqUserInfo",
    "ReqWshEventData",
    "ReqWshMetaData",
    "RequestFA",
    "SetServerLogLevel",
    "StartApi",
    "SubscribeToGroupEvents",
    "UnsubscribeFromGroupEvents",
    "UpdateDisplayGroup",
    "VerifyAndAuthMessage",
    "VerifyAndAuthRequest",
    "VerifyMessage",
    "VerifyRequest",
]


def decode_request(payload: bytes, version: int) -> Request:
    """Return the request in a frame's payload.

    Raises:
        UnknownMessage: no request has this id.
        DecodeError: the fields are not those of this request at this server version.
    """
    request: Request = REQUESTS.decode(payload, version)
    return request


def encode_request(request: Request, version: int) -> bytes:
    """Return the frame's payload of a request for a server of this version.

    Raises:
        ValueError: a value cannot be sent (a NUL in a text).
    """
    return REQUESTS.encode(request, version)


def request_id(request: Request) -> int:
    """Return the id that an answer or an error about this request carries: its order or request id, or -1."""
    for name in ("order_id", "req_id"):
        number = getattr(request, name, None)
        if isinstance(number, int):
            return number
    return -1
