"""Encode orders: by the library once for each kind, then by filling in the form that it made.

The library's encoder looks at 130 attributes of an order. That takes 40 us when its code has just run and 0.3 ms when
it has not, and orders are rare: it never has, and a claimed order waits for it. Orders of one contract that only differ
in id, size, prices and reference differ in these texts only.

Invariant: a filled form is, byte by byte, what the library would have encoded. The places of the texts are where
numbers that nobody uses came out of the library, each exactly once; else, and for the legs of a group, there is no form
and the library encodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from operator import attrgetter
from typing import Any

from services.gateway.core.ledger import OrderTerms, terms_in
from services.gateway.shell.ib_library import Library
from services.gateway.shell.ib_sent import contract_to_send, order_to_send, plain_text
from services.gateway.shell.ib_wire import HEAD
from shared.messages.market import ContractInfo

MAX_FORMS = 1000
_ID, _REF = 1_987_654_321, "the reference of nobody"
_QUANTITY, _LIMIT, _STOP = Decimal("918273645.0123"), Decimal("817263549.0234"), Decimal("716253948.0345")
_UNSET_ID = (1 << 31) - 1
"""The wire's number for "no number": the library sends nothing in its place (ib-facts B.4)."""
_FILLED_IN = ("order_id", "order_ref", "quantity", "limit_price", "stop_price")
_terms_of_kind: Callable[[OrderTerms], tuple[object, ...]] = attrgetter(
    *(field.name for field in fields(OrderTerms) if field.name not in _FILLED_IN)
)


@dataclass(frozen=True, slots=True)
class _Form:
    """The fields of an order's frame, and where its own texts go."""

    contract: ContractInfo | None
    fields: list[str]
    places: list[int]

    def filled(self, order: OrderTerms) -> bytes:
        texts = self.fields.copy()
        for place, text in zip(self.places, _texts(order), strict=True):
            texts[place] = text
        data = "\0".join(texts).encode()
        return HEAD.pack(len(data)) + data


class OrderForms:
    """Makes the frames of orders for one session."""

    def __init__(self, library: Library, wire: Any) -> None:
        self._library = library
        self._wire = wire
        self._forms: dict[tuple[object, ...], _Form] = {}

    def frame(self, order: OrderTerms, contract: ContractInfo | None) -> bytes:
        """Return the frame of an order; nothing is sent."""
        if order.parent_id or order.oca_group or order.order_id >= _UNSET_ID:
            return self._encoded(order, contract)
        kind = (_terms_of_kind(order), order.limit_price is None, order.stop_price is None)
        form = self._forms.get(kind)
        if form is None or form.contract is not contract:
            form = self._made(order, contract)
            if form is None:
                return self._encoded(order, contract)
            if len(self._forms) >= MAX_FORMS:
                self._forms.clear()
            self._forms[kind] = form
        return form.filled(order)

    def _encoded(self, order: OrderTerms, contract: ContractInfo | None) -> bytes:
        self._wire.batch = []
        try:
            where = contract_to_send(self._library, contract, con_id=order.con_id)
            self._wire.placeOrder(order.order_id, where, order_to_send(self._library, order))
            return b"".join(self._wire.batch)
        finally:
            self._wire.batch = None

    def _made(self, order: OrderTerms, contract: ContractInfo | None) -> _Form | None:
        model = replace(
            order, order_id=_ID, order_ref=_REF, quantity=_QUANTITY,
            limit_price=None if order.limit_price is None else _LIMIT,
            stop_price=None if order.stop_price is None else _STOP,
        )  # fmt: skip
        fields = self._encoded(model, contract)[HEAD.size :].decode().split("\0")
        texts = _texts(model)
        if any(fields.count(text) != 1 for text in texts):
            return None
        return _Form(contract, fields, [fields.index(text) for text in texts])


def _texts(order: OrderTerms) -> list[str]:
    """Return the texts in which orders of a kind differ."""
    texts = [str(order.order_id), order.order_ref, plain_text(order.quantity)]
    if order.limit_price is not None:
        texts.append(plain_text(order.limit_price))
    if order.stop_price is not None:
        texts.append(plain_text(order.stop_price))
    return texts


@dataclass(frozen=True, slots=True)
class EncodedOrders:
    """The frames of a group of orders, and what they say."""

    terms: list[tuple[object, ...]]
    contract: ContractInfo | None
    data: bytes

    @classmethod
    def of(cls, forms: OrderForms, orders: Sequence[OrderTerms], contract: ContractInfo | None) -> EncodedOrders:
        """Encode orders; nothing is sent."""
        data = b"".join([forms.frame(order, contract) for order in orders])
        return cls([terms_in(order) for order in orders], contract, data)

    def says(self, orders: Sequence[OrderTerms], contract: ContractInfo | None) -> bool:
        """Return whether these frames are those of other orders, each in all its terms."""
        return self.contract is contract and self.terms == [terms_in(order) for order in orders]
