"""Say what of TWS' protocol this exchange serves: in full, with limits, or not; the reference page is made from it.

A request is refused if `REFUSED` has it, limited if `LIMITS` has it, and served otherwise (`NOTES`); a response that is
never sent stands in `NEVER_SENT`. Tests hold these against the routes and against what the code sends.
"""

from __future__ import annotations

from services.simulator.core.order_fields import CARRIED_OUT, FOR_THE_RECORD, WITHOUT_EFFECT
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.versions import MAX_SUPPORTED, MIN_SUPPORTED, NEVER_SPOKEN

_NOTHING_RUNS = "what was asked for was answered at once: nothing is left to stop"
REFUSED: dict[type, str] = dict.fromkeys(
    (rq.VerifyRequest, rq.VerifyMessage, rq.VerifyAndAuthRequest, rq.VerifyAndAuthMessage),
    "answered that it has failed: API verification is not offered",
)
NOTES: dict[type, str] = {
    rq.ReqSecDefOptParams: "for the underlyings whose options are listed here",
    rq.ReqScannerParameters: "names what is served, in TWS' form",
    rq.ReqFamilyCodes: "the accounts without a code, as for a customer of no family",
    rq.ReqSoftDollarTiers: "none, as for a customer without them",
    rq.ReqUserInfo: "no white branding, as for a customer of IB itself",
    rq.CancelFundamentalData: _NOTHING_RUNS,
    rq.CancelHeadTimestamp: _NOTHING_RUNS,
    rq.CancelHistogramData: _NOTHING_RUNS,
    rq.CancelCalculateImpliedVolatility: _NOTHING_RUNS,
    rq.CancelCalculateOptionPrice: _NOTHING_RUNS,
}
"""Served in full, and still worth knowing."""
LIMITS: dict[type, str] = {
    rq.ReqMktData: "no auction ticks, no exchanges for physicals; regulatory snapshots are plain and free",
    rq.PlaceOrder: "some fields have no effect, and 399 says which (below); by an advisor's group: 321",
    rq.CancelAccountSummary: "an unknown id is taken in silence: what TWS does then is not documented",
    rq.ReqMktDepth: "rows below the best quote are made up around it; not for options, indices and combinations",
    rq.ReqTickByTick: "not for options and combinations, as at IB; past ticks first (numberOfTicks) are one a second",
    rq.ReqHistoricalData: "no yields, no trades of combinations; regular hours without a calendar: 09:30 to 16:00",
    rq.ReqHistoricalTicks: "not for combinations; one tick a second, forward from the start or up to the end",
    rq.ReqHeadTimestamp: "the same for every kind of data",
    rq.ReqContractDetails: "finds what is listed here; no funds or warrants; combinations have none, as at IB",
    rq.ReqScannerSubscription: "27 scan codes and 7 named filters over the listed contracts; others are refused (162)",
    rq.ReqNewsProviders: "two providers with canned headlines",
    rq.ReqHistoricalNews: "one canned headline per contract and weekday",
    rq.ReqNewsArticle: "a canned sentence",
    rq.ReqNewsBulletins: "one canned bulletin, and those of the command bulletin",
    rq.ReqFundamentalData: "six canned reports on common stocks, made up",
    rq.ReqWshMetaData: "two kinds of canned events",
    rq.ReqWshEventData: "canned quarterly results and dividends; the watch list and portfolio are all companies listed",
    rq.RequestFA: "with SIM_ADVISOR: one group of all accounts, no profiles; else error 321, as for non-advisors",
    rq.ReplaceFA: "with SIM_ADVISOR: taken and given back; orders by group or profile are refused (321)",
    rq.SetServerLogLevel: "taken, without effect",
}
REFUSED_FIELDS = {
    "fa_group": 321, "fa_profile": 321, "e_trade_only": 10268, "firm_quote_only": 10269, "nbbo_price_cap": 10270,
}  # fmt: skip
"""Fields whose use is refused, with the error."""
NEVER_SENT: dict[type, str] = {
    rs.TickEFP: "no exchanges for physicals",
    rs.RerouteMktData: "no contracts for difference",
    rs.RerouteMktDepth: "no contracts for difference",
    rs.VerifyMessageApi: "API verification is not offered",
    rs.VerifyAndAuthMessageApi: "API verification is not offered",
}


def request_support(cls: type) -> tuple[str, str]:
    """Return "yes", "with limits" or "no" for a request, and what to know."""
    if cls in REFUSED:
        return "no", REFUSED[cls]
    return ("with limits", LIMITS[cls]) if cls in LIMITS else ("yes", NOTES.get(cls, ""))


def response_support(cls: type) -> tuple[str, str]:
    """Return "sent" or "never" for a response, and why never."""
    return ("never", NEVER_SENT[cls]) if cls in NEVER_SENT else ("sent", "")


def support_page() -> str:
    """Return the reference page."""
    skipped = ", ".join(str(version) for version in sorted(NEVER_SPOKEN))
    parts = [
        "# What the simulator speaks of TWS' protocol\n",
        f"Server versions {MIN_SUPPORTED} to {MAX_SUPPORTED} in the text protocol, the highest that both know and "
        f"`SIM_MAX_VERSION` allows, but for {skipped}, about whose layouts clients disagree. From 201 messages are "
        "protobuf, which it does not speak. A request that is not in this list, or whose fields are not as they should "
        "be, is answered by error 320, and the session goes on.\n",
        "## Requests\n",
        "| id | request | from | served | to know |\n|---|---|---|---|---|",
    ]
    for cls in sorted(rq.REQUESTS.classes, key=rq.REQUESTS.message_id):
        served, text = request_support(cls)
        since = rq.REQUESTS.since(cls) or ""
        parts.append(f"| {rq.REQUESTS.message_id(cls)} | {cls.__name__} | {since} | {served} | {text} |")
    parts += ["\n## Messages to the client\n", "| id | message | from | | to know |\n|---|---|---|---|---|"]
    for cls in sorted(rs.RESPONSES.classes, key=rs.RESPONSES.message_id):
        sent, text = response_support(cls)
        since = rs.RESPONSES.since(cls) or ""
        parts.append(f"| {rs.RESPONSES.message_id(cls)} | {cls.__name__} | {since} | {sent} | {text} |")
    parts += [
        "\n## Fields of an order\n",
        "What is asked for without effect is told by a notice 399 on the order, which then works without it.\n",
        "| field | what becomes of it |\n|---|---|",
    ]
    places = {name: "carried out" for name in CARRIED_OUT} | {name: "kept and shown again" for name in FOR_THE_RECORD}
    places |= {name: f"no effect: 399 says *{what}*" for what, names in WITHOUT_EFFECT.items() for name in names}
    places |= {name: f"refused: error {code}" for name, code in REFUSED_FIELDS.items()}
    parts += [f"| `{name}` | {places[name]} |" for name in sorted(places)]
    return "\n".join(parts) + "\n"
