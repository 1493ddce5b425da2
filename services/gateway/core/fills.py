"""Make the entry of `fills` that an execution becomes."""

from __future__ import annotations

from services.gateway.core.evidence import BrokerExecution
from services.gateway.core.order_machine import OrderTrack
from shared.ids import UNASSIGNED, IntentId, exec_stem
from shared.messages.orders import Fill


def fill_of(
    execution: BrokerExecution, track: OrderTrack | None, account: str, ref: tuple[str, IntentId, int] | None,
    now_ns: int, *, is_late: bool, is_second: bool = False, origin: str = "",
) -> Fill:  # fmt: skip
    """Return the fill.

    Args:
        execution: what the broker told.
        track: the order that it is of, as far as it is known.
        account: ours.
        ref: its orderRef, parsed, if that is ours.
        now_ns: wall time.
        is_late: whether it was found by asking.
        is_second: whether it is of a second order under `track`'s orderRef, which the broker has not shown yet.
        origin: where it is from, if not from the API.
    """
    stem, revision = exec_stem(execution.exec_id)
    return Fill(
        ts_init_ns=now_ns, ts_event_ns=execution.ts_ns, exec_id=execution.exec_id, exec_stem=stem,
        revision=revision, intent_id=ref[1] if ref else "", leg=ref[2] if ref else 0,
        order_ref=execution.order_ref[:32] if ref else "",
        strategy=track.strategy if track is not None else UNASSIGNED, account=account,
        con_id=execution.con_id, contract=execution.contract or (track.contract if track is not None else ""),
        side=execution.side, quantity=execution.shares, price=execution.price, exchange=execution.exchange,
        currency=execution.currency, order_id=execution.order_id, client_id=execution.client_id,
        perm_id=execution.perm_id, cumulative_quantity=execution.cumulative_quantity,
        average_price=execution.average_price, liquidity=execution.liquidity, is_late=is_late,
        is_liquidation=execution.is_liquidation, origin=origin,
        is_double=is_second or (track is not None and track.is_double),
    )  # fmt: skip
