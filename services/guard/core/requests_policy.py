"""Say which requests a session without a trading claim may send: those that only read.

What is not listed is order traffic or changes something (orders, exercises, global cancel, binding of manual orders,
advisor configuration, TWS' own display and log level), and so is every id of a newer protocol that nobody here has
looked at. Default: refused (architecture §4, the guard).

Source: ib-facts A.2 (binding), B.7.
"""

from __future__ import annotations

from shared.errors import DecodeError

START_API = 71
PLACE_ORDER = 3
CANCEL_ORDER = 4
REQ_OPEN_ORDERS = 5

READ_REQUESTS: frozenset[int] = frozenset(
    {1, 2, 59}  # quotes
    | {10, 11, 82, 83, 97, 98, 50, 51}  # depth, ticks, five-second bars
    | {5, 7, 16, 99}  # open orders, executions, all open orders, completed orders
    | {6, 61, 62, 63, 64, 74, 75, 76, 77, 92, 93, 94, 95}  # account, positions, profit and loss
    | {8, 17, 18, 49, 79, 80, 104, 105}  # ids, accounts, advisor (read), time, tiers, families, user
    | {9, 54, 55, 56, 57, 67, 68, 70, 78, 81, 91}  # contracts, calculations, display groups (read)
    | {20, 25, 52, 53, 87, 88, 89, 90, 96}  # history
    | {12, 13, 22, 23, 24, 84, 85, 86, 100, 101, 102, 103}  # news, scanner, corporate events
)


def message_id_of(payload: bytes) -> int:
    """Return the message id of a client's frame: its first field.

    Raises:
        DecodeError: there is no id.
    """
    word, nul, _ = payload[:8].partition(b"\0")
    if not nul or not word.isdigit() or len(word) > 4:
        raise DecodeError("the frame does not start with a message id")
    return int(word)


def may_read(message_id: int, client_id: int) -> bool:
    """Tell whether a session without a claim may send this request; for client 0, open orders bind manual orders."""
    if message_id == REQ_OPEN_ORDERS and client_id == 0:
        return False
    return message_id in READ_REQUESTS
