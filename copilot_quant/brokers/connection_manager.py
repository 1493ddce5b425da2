"""The guide's `IBKRConnectionManager`: a direct session with TWS or IB Gateway, for looking.

```python
with IBKRConnectionManager(paper_trading=True) as manager:
    print(manager.get_ib().positions())
```

1. `connect` answers True or False and `last_error` says why; it never waits longer than its limits.
2. The session belongs to the account of the settings, in the mode asked for (P8), or it is closed again.
3. A session that is lost is opened again, after 1, 2, 4 … 60 s, until `disconnect`.
4. Where a system of this mode runs here it goes through the system's guard, which lets nothing but looking pass, unless
   an address was given or raw orders were asked for; else straight to TWS. `status()["via"]` says which.

Client ids: gateways count up from `IB_PAPER_CLIENT_ID`; without `client_id` a manager takes the first free one of the
32 from ten above that. Orders belong to `IBKRBroker`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable
from typing import Any

from copilot_quant.background import BACKGROUND
from copilot_quant.brokers.client_ids import NOTES
from copilot_quant.brokers.direct import ClientIdInUse, DirectIB, InspectionIB
from copilot_quant.connecting import Connecting
from copilot_quant.front_settings import CURE, broker_settings, mode_of, sentence, settings_of_system, system_of
from shared.clock import NS_PER_MS, SYSTEM_CLOCK, iso_utc
from shared.errors import BrokerUnavailable, CqError, ModeMismatch
from shared.settings import BrokerSettings, Mode, check_account

log = logging.getLogger("copilot_quant.connection")
CONNECT_LIMIT_S = 10.0
FIRST_TOOL_ID, TOOL_IDS = 10, 32
BACK_OFF_MAX_S = 60.0
PORTS = {(Mode.PAPER, False): 7497, (Mode.PAPER, True): 4002, (Mode.LIVE, False): 7496, (Mode.LIVE, True): 4001}


class IBKRConnectionManager(Connecting):
    """One direct session.

    Args:
        paper_trading: paper account; False: the live one.
        client_id: exactly this one; None: the next free one for tools.
        host: default from the settings.
        port: default from `use_gateway` if it is given, else from the settings.
        use_gateway: IB Gateway's port instead of that of TWS.
        on_connect: called after each connect.
        on_disconnect: called when the session is lost; not for `disconnect()`.
        auto_reconnect: open a lost session again.
        allow_raw_orders: let orders out that pass by risk and by the books. You are on your own.
    """

    def __init__(
        self,
        paper_trading: bool = True,  # noqa: FBT001, FBT002 - the guide's signature
        client_id: int | None = None,
        host: str | None = None,
        port: int | None = None,
        use_gateway: bool | None = None,  # noqa: FBT001
        on_connect: Callable[[], object] | None = None,
        on_disconnect: Callable[[], object] | None = None,
        *,
        auto_reconnect: bool = True,
        allow_raw_orders: bool = False,
    ) -> None:
        self.paper_trading = paper_trading
        self.client_id = client_id
        self._wanted = (host, port, use_gateway)
        self._on_connect, self._on_disconnect = on_connect, on_disconnect
        self._auto_reconnect = auto_reconnect
        self._allow_raw_orders = allow_raw_orders
        self._ib = InspectionIB(allow_raw_orders=allow_raw_orders)
        self._direct = DirectIB(self._ib, self.disconnect)
        self._ib.disconnectedEvent += self._session_ended
        self._is_wanted = False
        self._lost: asyncio.Event | None = None
        self._watching: concurrent.futures.Future[None] | None = None
        self._session: dict[str, Any] = {}
        self._reconnects = 0
        self.last_error = ""

    # -- the guide's methods

    def connect(self, timeout: float = CONNECT_LIMIT_S) -> bool:
        """Connect and synchronise; say whether it worked. `last_error` and the log say why not."""
        if self.is_connected():
            return True
        try:
            BACKGROUND.run(self._connect(timeout), limit_s=timeout * 4 + 5)
        except (CqError, OSError) as e:
            self.last_error = sentence(e)
            log.error("not connected: %s", self.last_error)  # noqa: TRY400 - a sentence, no traceback
            return False
        self.last_error = ""
        if self._auto_reconnect:
            self._watching = BACKGROUND.spawn(self._keep_connected(timeout))
        if self._on_connect is not None:
            self._on_connect()
        return True

    def disconnect(self) -> None:
        """End the session and do not open it again; fine when there is none."""
        self._is_wanted = False
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()

        async def close() -> None:
            self._ib.disconnect()  # type: ignore[no-untyped-call]

        BACKGROUND.run(close(), limit_s=5.0)
        self._forget_client_id()

    def get_ib(self) -> Any:
        """Return an object with the methods of ib_insync's IB; it stays the same over reconnects.

        Raises:
            BrokerUnavailable: there is no session.
        """
        if not self.is_connected():
            raise self.not_connected()
        return self._direct

    def is_connected(self) -> bool:
        """Say whether there is a session."""
        return bool(self._ib.isConnected())

    # -- more to know

    def status(self) -> dict[str, Any]:
        """Return where and how the session goes, since when, under which client id, how often it was opened again."""
        is_connected = self.is_connected()
        return {
            "connected": is_connected,
            "mode": "paper" if self.paper_trading else "live",
            **self._session,
            "accounts": list(self._ib.managedAccounts()) if is_connected else [],
            "reconnects": self._reconnects,
            "last_error": self.last_error,
        }

    def health(self, limit_s: float = 5.0) -> dict[str, Any]:
        """Ask the broker for its time; return `healthy`, `latency_ms` and, where it is not healthy, the `reason`."""
        if not self.is_connected():
            return {"healthy": False, "latency_ms": None, "reason": self.last_error or "not connected"}
        began_ns = SYSTEM_CLOCK.monotonic_ns()

        async def ask() -> None:
            await self._ib.reqCurrentTimeAsync()

        try:
            BACKGROUND.run(ask(), limit_s=limit_s)
        except (CqError, OSError) as e:
            return {"healthy": False, "latency_ms": None, "reason": sentence(e)}
        took_ms = (SYSTEM_CLOCK.monotonic_ns() - began_ns) / NS_PER_MS
        return {"healthy": True, "latency_ms": round(took_ms, 3), "reason": ""}

    # -- on the background loop

    async def _connect(self, limit_s: float) -> None:
        mode = mode_of(paper_trading=self.paper_trading)
        settings = broker_settings(mode)
        host, port, via = self._address(settings)
        self._ib.is_guarded = via == "guard"
        self._is_wanted = True
        for client_id in self._client_ids(settings):
            try:
                await self._ib.open(host, port, client_id, limit_s)
                break
            except ClientIdInUse as e:
                if self.client_id is not None:
                    raise BrokerUnavailable(_who_holds(host, port, client_id, settings, str(e))) from e
            except BrokerUnavailable as e:
                raise BrokerUnavailable(f"cannot connect to {host}:{port}, {e}: {CURE}") from e
        else:
            raise BrokerUnavailable(f"every client id for tools is in use at {host}:{port}: end some of them")
        self._check_accounts(settings)
        self._session = {
            "mode": mode.value,
            "host": host,
            "port": port,
            "via": via,
            "client_id": client_id,
            "server_version": self._ib.client.serverVersion(),
            "connected_since": iso_utc(SYSTEM_CLOCK.wall_ns()),
        }
        self._lost = asyncio.Event()
        NOTES.note(host, port, client_id)
        how = "through the guard of the system that runs here" if via == "guard" else "straight"
        log.info("connected %s to %s:%s with client id %s", how, host, port, client_id)

    def _address(self, settings: BrokerSettings) -> tuple[str, int, str]:
        """Return host, port, and `guard` or `direct`."""
        host, port, use_gateway = self._wanted
        if port is None and use_gateway is not None:
            port = PORTS.get((settings.mode, use_gateway))
        if host is None and port is None and not self._allow_raw_orders:
            system = system_of(settings.mode)
            if system is not None:
                behind = settings_of_system(system)
                return behind.broker_host, behind.broker_port, "guard"
        return host or settings.broker_host, port or settings.broker_port, "direct"

    def _forget_client_id(self) -> None:
        if self._session:
            NOTES.forget(self._session["host"], self._session["port"], self._session["client_id"])

    def _client_ids(self, settings: BrokerSettings) -> list[int]:
        if self.client_id is not None:
            return [self.client_id]
        first = settings.client_id + FIRST_TOOL_ID
        return list(range(first, first + TOOL_IDS))

    def _check_accounts(self, settings: BrokerSettings) -> None:
        """Close a session of another login than the settings name (P8).

        Raises:
            ModeMismatch: the account is not there, or one is of another mode.
        """
        accounts = self._ib.managedAccounts()
        complaints = [text for text in (check_account(settings.mode, one) for one in accounts) if text]
        if settings.account not in accounts:
            complaints.insert(
                0,
                f"account {settings.account} is not of this login: check IB_{settings.mode.upper()}_ACCOUNT and login",
            )
        if complaints:
            self._is_wanted = False
            self._ib.disconnect()  # type: ignore[no-untyped-call]
            raise ModeMismatch("DIRECT_OTHER_ACCOUNT", complaints[0])

    def _session_ended(self) -> None:
        if self._is_wanted and self._lost is not None:
            self._lost.set()

    async def _keep_connected(self, limit_s: float) -> None:
        """Open the session again whenever it is lost."""
        while self._lost is not None:
            await self._lost.wait()
            self.last_error = "the connection was lost"
            log.warning("connection lost, connecting again")
            if self._on_disconnect is not None:
                BACKGROUND.tell(self._on_disconnect)
            await self._reconnect(limit_s)
            self._reconnects += 1
            self.last_error = ""
            if self._on_connect is not None:
                BACKGROUND.tell(self._on_connect)

    async def _reconnect(self, limit_s: float) -> None:
        wait_s = 1.0
        while True:
            await SYSTEM_CLOCK.sleep(wait_s)
            try:
                await self._connect(limit_s)
                return
            except (CqError, OSError) as e:
                self.last_error = sentence(e)
                wait_s = min(BACK_OFF_MAX_S, wait_s * 2)
                log.warning("still not connected (%s), trying again in %g s", self.last_error, wait_s)


def _who_holds(host: str, port: int, client_id: int, settings: BrokerSettings, text: str) -> str:
    """Say who has a client id, as far as we can know."""
    system = system_of(settings.mode)
    noted = NOTES.holder(host, port, client_id)
    if system is not None and settings.client_id <= client_id < settings.client_id + FIRST_TOOL_ID:
        who = f"gateway-{client_id - settings.client_id + 1} of the system that runs here (process {system.pid})"
    elif noted:
        who = noted
    else:
        who = "another program on this TWS or IB Gateway, which does not say which"
    return (
        f"client id {client_id} is in use ({text}) by {who}: end it and wait some seconds, choose another client_id, "
        "or none to take the next free one"
    )
