"""Turn the book into plain data and back, so that a restart reads a snapshot and the streams' tail, not their start.

A snapshot is true together with the cursors up to which the streams were read; what was written before them may be
trimmed. Last prices, contract definitions and order rates are not in it: prices and definitions are read anew, and a
token bucket refills within seconds.

Known limit: reservations that are not written yet must not be in it (`Book.unwritten`); the shell waits for that.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.risk.core.ended import pack_group, unpack_group
from services.risk.core.exposure import Book
from services.risk.core.positions import ContractExposure

VERSION = 1


def snapshot_of(book: Book) -> dict[str, Any]:
    """Return everything that the streams before the cursors told, as data for msgpack."""
    return {
        "version": VERSION,
        "account": book.account,
        "seen_ns": book.seen_ns,
        "base": book.sums.base_currency,
        "rates": {currency: str(rate) for currency, rate in book.sums.rates.items()},
        "buying_power": _text(book.buying_power),
        "filled_since": str(book.filled_since),
        "contracts": [_contract_row(one) for one in book.contracts.values()],
        "groups": [pack_group(group) for group in book.groups.values()],
        "modifies": {name: list(target) for name, target in book.modifies.items()},
        "ended": [list(row) for row in book.ended.rows()],
        "account_values": [_text(one) for one in (book.net_liquidation, book.cash, book.day_trades_left)],
        "activity": book.activity.stored(),
        "profits": book.profits.stored(),
        "breakers": book.breakers.stored(),
        "readiness": book.readiness.stored(),
        "baseline": book.baseline_stored(),
        "moves": list(book.moves),
        "messages": book.messages.stored(),
        "margins": book.margins.stored(),
        "lendable": {
            str(con_id): str(one.lendable) for con_id, one in book.contracts.items() if one.lendable is not None
        },
    }


def load_snapshot(book: Book, data: dict[str, Any]) -> None:
    """Fill an empty book with a snapshot.

    Raises:
        ValueError: another version or account, or data that do not fit (also as KeyError, TypeError, ArithmeticError).
    """
    if data["version"] != VERSION or data["account"] != book.account:
        raise ValueError(f"a snapshot of version {data['version']} for account {data['account']} does not fit")
    book.seen_ns = data["seen_ns"]
    book.sums.base_currency = data["base"]
    book.sums.rates = {currency: Decimal(rate) for currency, rate in data["rates"].items()}
    book.buying_power = None if data["buying_power"] is None else Decimal(data["buying_power"])
    book.filled_since = Decimal(data["filled_since"])
    for row in data["contracts"]:
        _take_contract(book, row)
    for packed in data["groups"]:
        book.adopt(unpack_group(packed))
    book.modifies = {name: (intent_id, leg) for name, (intent_id, leg) in data["modifies"].items()}
    for key, ended_ns, packed in data["ended"]:
        book.ended.put_row(key, ended_ns, packed)
    values = [None if one is None else Decimal(one) for one in data["account_values"]]
    book.net_liquidation, book.cash, book.day_trades_left = values
    book.activity.restore(data["activity"])
    book.profits.restore(data["profits"])
    book.breakers.restore(data["breakers"])
    book.readiness.restore(data["readiness"])
    book.baseline_restore(data["baseline"])
    book.moves = dict.fromkeys(data.get("moves", ()))
    book.messages.restore(data.get("messages", ()))
    book.margins.restore(data.get("margins", {}))
    for con_id, shares in data.get("lendable", {}).items():
        book.contract(int(con_id)).lendable = None if shares is None else Decimal(shares)


def _contract_row(contract: ContractExposure) -> list[Any]:
    return [
        contract.con_id,
        contract.currency,
        {strategy: str(quantity) for strategy, quantity in contract.by_strategy.items() if quantity},
        _text(contract.broker),
        contract.differs_since_ns,
        contract.is_mismatched,
        contract.unexplained,
        str(contract.average_cost),
        _text(contract.market_price),
    ]


def _take_contract(book: Book, row: list[Any]) -> None:
    con_id, currency, by_strategy, broker, since_ns, is_mismatched, unexplained, cost, price = row
    contract = book.contract(con_id)
    contract.currency = currency
    contract.take_positions({strategy: Decimal(quantity) for strategy, quantity in by_strategy.items()})
    contract.broker = None if broker is None else Decimal(broker)
    contract.differs_since_ns, contract.is_mismatched, contract.unexplained = since_ns, is_mismatched, unexplained
    if since_ns:
        contract.doubt()
    contract.average_cost = Decimal(cost)
    contract.market_price = None if price is None else Decimal(price)
    book.take_back(contract)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
