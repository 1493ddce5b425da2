"""Name the server versions at which a layout changes, and negotiate the one to speak.

A gate is the first version that has the feature. Between 157 and 200, the range this codec speaks, the names are
exhaustive where a layout changes; from 201 messages are protobuf, which this codec does not speak.

Source: ib-facts B.3, B.4, B.9.
"""

from __future__ import annotations

from typing import Final

REPLACE_FA_END: Final = 157
DURATION: Final = 158
"""Never spoken: the official client reads openOrder.duration from 158, ib_insync and ib_async from 159."""
MARKET_DATA_IN_SHARES: Final = 159
POST_TO_ATS: Final = 160
WSH_CALENDAR: Final = 161
AUTO_CANCEL_PARENT: Final = 162
FRACTIONAL_SIZE_SUPPORT: Final = 163
SIZE_RULES: Final = 164
HISTORICAL_SCHEDULE: Final = 165
ADVANCED_ORDER_REJECT: Final = 166
USER_INFO: Final = 167
CRYPTO_AGGREGATED_TRADES: Final = 168
MANUAL_ORDER_TIME: Final = 169
PEG_BEST_PEG_MID_OFFSETS: Final = 170
WSH_EVENT_DATA_FILTERS: Final = 171
IPO_PRICES: Final = 172
WSH_EVENT_DATA_FILTERS_DATE: Final = 173
INSTRUMENT_TIMEZONE: Final = 174
HISTORICAL_VOLUME_IN_SHARES: Final = 175
BOND_ISSUER_ID: Final = 176
FA_PROFILE_DESUPPORT: Final = 177
PENDING_PRICE_REVISION: Final = 178
FUND_DATA_FIELDS: Final = 179
MANUAL_EXERCISE_TIME: Final = 180
LAST_TRADE_DATE: Final = 182
CUSTOMER_ACCOUNT: Final = 183
PROFESSIONAL_CUSTOMER: Final = 184
BOND_ACCRUED_INTEREST: Final = 185
INELIGIBILITY_REASONS: Final = 186
RFQ_FIELDS: Final = 187
"""Never spoken, nor 188 and 189: the request-for-quote fields were taken back at 190, and no client reads them now."""
BOND_TRADING_HOURS: Final = 188
INCLUDE_OVERNIGHT: Final = 189
UNDO_RFQ_FIELDS: Final = 190
PERM_ID_LONG: Final = 191
CME_TAGGING: Final = 192
CME_TAGGING_IN_OPEN_ORDER: Final = 193
ERROR_TIME: Final = 194
ORDER_PREVIEW: Final = 195
HISTORICAL_DATA_END: Final = 196
CURRENT_TIME_IN_MILLIS: Final = 197
SUBMITTER: Final = 198
IMBALANCE_ONLY: Final = 199
EXECUTION_DATES: Final = 200
PROTOBUF: Final = 201

MIN_SUPPORTED: Final = 157
MAX_SUPPORTED: Final = 200
"""This codec's range; every layout in `shared.tws` is right within it, but for the versions of `NEVER_SPOKEN`."""
NEVER_SPOKEN: Final = {DURATION: REPLACE_FA_END} | dict.fromkeys(
    range(RFQ_FIELDS, UNDO_RFQ_FIELDS), INELIGIBILITY_REASONS
)
"""Versions about which clients disagree, and the one below each that is spoken instead."""
DEFAULT_CAP: Final = 176
"""The highest version that ib_insync, ib_async, ibapi and @stoqey/ib all speak correctly."""


def negotiate(client_min: int, client_max: int, cap: int = DEFAULT_CAP) -> int | None:
    """Return the server version for a client that speaks `client_min` to `client_max`, or None to refuse it.

    The highest that both know, at most `cap`, and none of `NEVER_SPOKEN`.

    Source: ib-facts B.3.
    """
    version = min(cap, client_max, MAX_SUPPORTED)
    version = NEVER_SPOKEN.get(version, version)
    return version if max(client_min, MIN_SUPPORTED) <= version else None
