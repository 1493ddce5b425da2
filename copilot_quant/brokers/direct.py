"""An IB session of ib_insync for looking, usable from any thread.

`InspectionIB` is the library's IB without its orders; it lives on the background loop. `DirectIB` is what users get:
every call goes to that loop and waits there, so nothing depends on the caller's own event loop.

Orders of a direct session would pass by risk and by the books of the gateway (P1), so they are refused here unless the
user asked for them; what the broker would say of an order (`whatIfOrder`) is looking.

Known limit: handlers of the library's events run on the background loop and must not call this object.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, NoReturn

from copilot_quant.background import BACKGROUND, Background
from services.gateway.shell.ib_library import loop_to_import
from shared.clock import SYSTEM_CLOCK
from shared.errors import BadInput, BrokerUnavailable, Refused

with loop_to_import():
    from ib_insync import IB, Event

REQUEST_LIMIT_S = 60.0
CLIENT_ID_IN_USE = 326
ORDERING = ("placeOrder", "cancelOrder", "reqGlobalCancel", "exerciseOptions")
OWN_LOOP = frozenset({"connect", "connectAsync", "run", "schedule", "loopUntil", "timeRange", "waitUntil"})
"""What makes no sense on a session that is connected and run by somebody else."""


class ClientIdInUse(BrokerUnavailable):
    """Another session holds the client id (326)."""


def refuse_order(name: str) -> NoReturn:
    """Refuse an order on a direct session.

    Raises:
        Refused: always.
    """
    raise Refused(
        "DIRECT_READ_ONLY",
        f"{name}: a direct connection is for looking, its orders would pass by risk. Order with "
        "copilot_quant.brokers.interactive_brokers.IBKRBroker, or ask for allow_raw_orders=True",
    )


class InspectionIB(IB):
    """The library's IB; without `allow_raw_orders` neither it nor its client lets an order out."""

    def __init__(self, *, allow_raw_orders: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_guarded = False
        """Whether a guard stands between, which lets no what-if of such a session pass."""
        if allow_raw_orders:
            return
        place = self.client.placeOrder
        for name in ORDERING:
            setattr(self, name, _refusing(name))
            setattr(self.client, name, _refusing(name))

        def only_what_if(order_id: int, contract: Any, order: Any) -> None:
            if not order.whatIf:
                refuse_order("placeOrder")
            if self.is_guarded:
                raise Refused(
                    "DIRECT_GUARDED",
                    "whatIfOrder: the guard of the system that runs here lets only the gateway ask that: `cq order buy "
                    "… --what-if`, or give the manager the host and port of TWS",
                )
            place(order_id, contract, order)  # type: ignore[no-untyped-call]

        self.client.placeOrder = only_what_if  # type: ignore[method-assign]  # whatIfOrder goes this way

    def __del__(self) -> None:
        """Do nothing: the collector may run on any thread, and the manager disconnects."""

    async def open(self, host: str, port: int, client_id: int, limit_s: float) -> None:
        """Connect and synchronise; an id in use and a port that closes are noticed at once.

        The library would notice both only when its time is up (ib-facts M1).

        Raises:
            ClientIdInUse: another session has the id.
            BrokerUnavailable: no API session; the sentence says how far it came.
        """
        watch = _Watch(asyncio.current_task())
        self.errorEvent += watch.on_error
        self.client.apiError += watch.on_api_error
        try:
            await self.connectAsync(host, port, client_id, limit_s)
        except asyncio.CancelledError:
            raise watch.reason_or_cancel() from None
        except TimeoutError as e:
            text = "it accepts, but its API does not answer: is the login finished, is a dialog open on its screen?"
            raise BrokerUnavailable(text) from e
        except OSError as e:
            raise BrokerUnavailable(f"nothing answers there ({e.strerror or e})") from e
        finally:
            self.errorEvent -= watch.on_error
            self.client.apiError -= watch.on_api_error


class _Watch:
    """Cancel a connect that cannot succeed any more, and remember why."""

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self._task = task
        self._reason: Exception | None = None

    def on_error(self, _: int, code: int, text: str, __: object) -> None:
        """Take an error message of the broker."""
        if code == CLIENT_ID_IN_USE:
            self._give_up(ClientIdInUse(text))

    def on_api_error(self, text: str) -> None:
        """Take a sentence of the library about its socket."""
        if text.startswith("Peer closed"):
            self._give_up(BrokerUnavailable("it closes the connection: is this machine trusted, is its API on?"))

    def _give_up(self, reason: Exception) -> None:
        if self._task is not None and self._reason is None:
            self._reason = reason
            self._task.cancel()

    def reason_or_cancel(self) -> BaseException:
        """Return what to raise for a cancel: our reason, or the cancel of somebody else."""
        if self._reason is None or self._task is None:
            return asyncio.CancelledError()
        self._task.uncancel()
        return self._reason


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        refuse_order(name)

    return refuse


class DirectIB:
    """What `get_ib()` returns: the attributes and methods of ib_insync's IB, each call made on the background loop.

    Methods that wait in the library wait here too, at most a minute; their `…Async` twins can be awaited on any loop.
    """

    def __init__(self, ib: InspectionIB, close: Callable[[], None], background: Background = BACKGROUND) -> None:
        object.__setattr__(self, "_ib", ib)
        object.__setattr__(self, "_close", close)
        object.__setattr__(self, "_background", background)

    def __getattr__(self, name: str) -> Any:
        if name in OWN_LOOP:
            raise BadInput(f"{name}: the connection manager connects this session and runs its loop")
        found = getattr(self._ib, name)
        if isinstance(found, Event) or not (inspect.ismethod(found) or inspect.isfunction(found)):
            return found
        if name.endswith("Async"):
            return lambda *args, **more: asyncio.wrap_future(self._background.spawn(_call(self._ib, name, args, more)))
        twin = f"{name}Async" if hasattr(self._ib, f"{name}Async") and name not in ORDERING else name
        return lambda *args, **more: self._background.run(_call(self._ib, twin, args, more), limit_s=REQUEST_LIMIT_S)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._ib, name, value)  # `ib.errorEvent += handler` ends here

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._ib), *super().__dir__()} - OWN_LOOP)

    def __repr__(self) -> str:
        return repr(self._ib)

    def sleep(self, secs: float = 0.02) -> bool:
        """Wait; the session goes on meanwhile."""
        SYSTEM_CLOCK.block(secs)
        return True

    def waitOnUpdate(self, timeout: float = 0) -> bool:  # noqa: N802 - the library's name
        """Wait until something comes from the broker; say whether it did within `timeout` (0: a minute)."""

        async def wait() -> bool:
            try:
                await asyncio.wait_for(self._ib.updateEvent, timeout or REQUEST_LIMIT_S)
            except TimeoutError:
                return False
            return True

        return bool(self._background.run(wait(), limit_s=(timeout or REQUEST_LIMIT_S) + 5))

    def disconnect(self) -> None:
        """Disconnect, for good: as the manager's own `disconnect`."""
        self._close()


async def _call(ib: InspectionIB, name: str, args: tuple[object, ...], more: dict[str, object]) -> Any:
    """Call a method on the loop and await what has to be awaited."""
    result = getattr(ib, name)(*args, **more)
    return await result if name.endswith("Async") else result
