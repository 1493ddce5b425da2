"""Compare what a client library made of a message with what was sent, value by value.

Both sides are flattened to leaves; every value that we sent must have arrived under the client's name for it. Names
agree but for underscores and capitals, or by the tables below, which say all that is known to differ. What our own
decoder does not read back at a server version is not on the wire there (its gate is closed), and is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

from shared.tws import responses as r
from tests.conformance.tws.distinct import distinct

UNSET = {
    "", "0", "2147483647", "9223372036854775807", "1.7976931348623157E+308", "-2147483648", "None",
    "1.7014118346046923E+38",
}  # fmt: skip

# our name -> the clients' names for it, beside the same name without underscores
ALIASES: dict[str, tuple[str, ...]] = {
    "last_trade_date": ("lasttradedateorcontractmonth",),
    "last_trade_date_and_time": ("lasttradedateorcontractmonth", "maturity"),
    "maturity": ("lasttradedateorcontractmonth",),
    "combo_legs_description": ("combolegsdescrip",),
    "description_append": ("descappend",),
    "conjunction": ("isconjunctionconnection",),
    "soft_dollar_name": ("name",),
    "soft_dollar_value": ("val",),
    "soft_dollar_display_name": ("displayname",),
    "commission": ("commissionandfees",),
    "min_commission": ("mincommissionandfees",),
    "max_commission": ("maxcommissionandfees",),
    "commission_currency": ("commissionandfeescurrency",),
    "yield_amount": ("yield_", "yield"),
    "req_id": ("tickerid", "id", "requestid"),
    "account": ("acctnumber", "acctcode", "accountname", "acct", "accountid", "accountsids", "accounts", "account_"),
    "accounts": ("accountslist",),
    "value": ("val", "value_"),
    "key": ("tag",),
    "position": ("pos", "posamount", "possize", "amount"),
    "daily": ("dailypnl",),
    "unrealized": ("unrealizedpnl",),
    "realized": ("realizedpnl",),
    "fa_type": ("fadata", "fadatatype"),
    "xml": ("cxml", "xmldata", "faxmldata", "data"),
    "under_con_id": ("underlyingconid", "conid"),
    "rule_id": ("marketruleid",),
    "option_price": ("optprice",),
    "under_price": ("undprice",),
    "implied_future": ("totaldividends", "impliedfuture"),
    "future_date": ("futurelasttradedate", "futureexpiry"),
    "dividends_to_date": ("dividendstolasttradedate", "dividendstoexpiry", "dividendtolasttradedate"),
    "time_ms": ("timestamp", "errortime", "timeinmillis"),
    "provider": ("providercode", "code"),
    "listing_exchange": ("listingexch",),
    "letter": ("exchangeletter",),
    "count": ("barcount", "size"),
    "timestamp": ("headtimestamp", "time"),
    "bid_price": ("pricebid",),
    "ask_price": ("priceask",),
    "bid_size": ("sizebid",),
    "ask_size": ("sizeask",),
    "start": ("startdatetime", "startdatestr", "startdate"),
    "end": ("enddatetime", "enddatestr", "enddate"),
    "time": ("timestamp", "tickerid"),
    "id": ("reqid",),
    "code": ("errorcode", "familycodestr"),
    "text": ("errorstring", "msg", "newsmessage", "articletext", "message"),
    "xyz_challenge": ("xyzchallange", "xyzchallenge"),
    "legs": ("legsstr",),
    "OrderBound.perm_id": ("reqid", "orderid"),
    "OrderBound.client_id": ("apiclientid",),
    "OrderBound.order_id": ("apiorderid",),
    "exchange": ("exch",),
    "wap": ("average",),
    "market_data_type": ("marketdataid",),
    "message_id": ("msgid",),
    "message_type": ("msgtype", "newstype"),
    "origin_exchange": ("originexch", "exchange", "origexchange"),
    "json": ("datajson",),
    "reason_id": ("id",),
    "name": ("fundname", "name"),
    "family": ("fundfamily",),
    "front_load": ("fundfrontload",),
    "back_load": ("fundbackload",),
    "back_load_time_interval": ("fundbackloadtimeinterval",),
    "management_fee": ("fundmanagementfee",),
    "is_closed": ("fundclosed",),
    "is_closed_for_new_investors": ("fundclosedfornewinvestors",),
    "is_closed_for_new_money": ("fundclosedfornewmoney",),
    "notify_amount": ("fundnotifyamount",),
    "minimum_initial_purchase": ("fundminimuminitialpurchase",),
    "subsequent_minimum_purchase": ("fundsubsequentminimumpurchase",),
    "blue_sky_states": ("fundblueskystates",),
    "blue_sky_territories": ("fundblueskyterritories",),
    "distribution_policy": ("funddistributionpolicyindicator",),
    "asset_type": ("fundassettype",),
}
MASKS: dict[str, tuple[str, ...]] = {
    "TickPrice": ("canautoexecute", "pastlimit", "preopen"),
    "TickByTickLast": ("pastlimit", "unreported"),
    "TickByTickBidAsk": ("bidpastlow", "askpasthigh"),
    "HistoricalTickBidAsk": ("askpasthigh", "bidpastlow"),
    "HistoricalTickLast": ("pastlimit", "unreported"),
}
"""What the bits of a mask are called, by the class that has it, from bit 0."""
# (class or None, our name, client or None) that a client reads but does not hand on as it is, and why
NOT_HANDED_ON: dict[tuple[str | None, str, str | None], str] = {
    (None, "fa_profile", None): "removed from the clients, or read and dropped",
    ("OpenOrder", "shares_allocation", None): "deprecated, read and dropped",
    **{
        ("OpenOrder", name, client): "deprecated"
        for name in ("e_trade_only", "firm_quote_only", "nbbo_price_cap")
        for client in ("ibapi-latest", "ibapi-stable")
    },
    ("ContractDetails@163", "suggested_size_increment", None): "a field that 163 alone has, read and dropped",
    ("TickByTick", "tick_type", None): "3 and 4 have callbacks of their own",
    ("HistoricalTicks", "unused", None): "a field without a meaning",
    ("NextValidId", "order_id", "ib_insync"): "its client reads it before the decoder",
    ("NextValidId", "order_id", "ib_async"): "its client reads it before the decoder",
    ("FundamentalData", "req_id", "ibapi-latest"): "the message was removed",
    ("FundamentalData", "xml", "ibapi-latest"): "the message was removed",
    ("FundamentalData", "req_id", "ibapi-stable"): "the message was removed",
    ("FundamentalData", "xml", "ibapi-stable"): "the message was removed",
    **{
        ("TickPrice", bit, client): "read and dropped"
        for bit in ("canautoexecute", "pastlimit", "preopen")
        for client in ("ib_insync", "ib_async")
    },
}
CALLED: dict[tuple[str, Any], tuple[Any, ...]] = {
    ("conjunction", "a"): (True,),
    ("conjunction", "o"): (False,),
    ("time", "20261123 10:00:00 America/New_York"): (1795446000,),
    ("time", "2026-11-23 10:00:00.0"): (1795428000,),
    ("last_trade_date_and_time", "20261218 16:00:00 US/Eastern"): ("20261218",),
    ("text", "Order rejected - reason:déjà vu"): (r"Order rejected - reason:d\u00e9j\u00e0 vu",),
}
"""What a client calls a value of ours."""


def canonical(value: Any) -> str:
    """Return a value in one spelling, whatever its type."""
    if isinstance(value, bool):
        return str(int(value))
    text = str(value)
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite():
        return "Infinity"
    return f"{number.normalize():f}" if abs(number) < 10**30 else str(float(number)).upper()


def ours(value: Any, name: str = "", path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield the leaves of one of our messages: path, name, value."""
    if is_dataclass(value):
        bits = MASKS.get(type(value).__name__, ())
        for field in fields(value):
            each = getattr(value, field.name)
            if bits and field.name in ("mask", "attr_mask"):
                yield from ((f"{path}.{bit}", bit, bool(each >> place & 1)) for place, bit in enumerate(bits))
            else:
                yield from ours(each, field.name, f"{path}.{field.name}")
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from ours(each, name, f"{path}.{index}")
    else:
        yield path, name, value


def theirs(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of what a client has handed on."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from theirs(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from theirs(each, name)
    else:
        yield name.lower().strip("_"), value


def on_the_wire(message: r.Response, version: int) -> list[tuple[str, str, Any]]:
    """Return the leaves of a message that its encoding carries at a server version."""
    kept = {path: value for path, _, value in ours(r.decode_response(r.encode_response(message, version), version))}
    return [leaf for leaf in ours(message) if leaf[0] in kept and kept[leaf[0]] == leaf[2]]


@cache
def _by_class() -> dict[str, list[r.Response]]:
    found: dict[str, list[r.Response]] = {}
    for each in distinct():
        found.setdefault(type(each).__name__, []).append(each)
    return found


@cache
def names_on_the_wire(kind: str, version: int) -> frozenset[str]:
    """Return the names of the fields that a message of a class carries at a server version."""
    return frozenset(name for each in _by_class().get(kind, ()) for _, name, _ in on_the_wire(each, version))


def differences(message: r.Response, version: int, calls: list[Any], client: str) -> list[str]:
    """Return every value that was sent and did not arrive."""
    sent = {path: value for path, _, value in on_the_wire(message, version)}
    arrived: dict[str, set[str]] = {}
    for _, arguments in calls:
        for name, value in theirs(arguments):
            arrived.setdefault(name, set()).add(canonical(value))
    unnamed = {value for name, values in arrived.items() if name.startswith("arg") for value in values}
    kind = type(message).__name__
    found = []
    for path, name, value in ours(message):
        if (
            path not in sent
            or name not in names_on_the_wire(kind, version)
            or any(
                (each, name, who) in NOT_HANDED_ON
                for each in (kind, f"{kind}@{version}", None)
                for who in (client, None)
            )
        ):
            continue
        names = (name.replace("_", ""), *ALIASES.get(f"{kind}.{name}", ALIASES.get(name, ())))
        values = unnamed.union(*(arrived.get(each, set()) for each in names))
        wanted = canonical(value)
        known_as = {wanted, *(canonical(each) for each in CALLED.get((name, value), ()))}
        if known_as & values or value == "" or (wanted in UNSET and (not values or values & UNSET)):
            continue
        found.append(f"{kind}.{name} = {wanted!r} at {version}, {client} has {sorted(values)}")
    return found
