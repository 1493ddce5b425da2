"""Follow the broker's known windows, on every gateway from its start; the leader says on the bus where we are."""

from __future__ import annotations

from collections.abc import Callable

from services.gateway.core.windows import Windows, WindowState
from services.gateway.settings import GatewaySettings
from services.gateway.shell.outbox import Outbox
from shared.bus.ports import Bus
from shared.clock import SYSTEM_CLOCK, Clock
from shared.logs import get_logger
from shared.messages.control import BrokerWindow, WindowPhase

EVERY_S = 1.0


class WindowDesk:
    """One gateway's view of the windows; a standby keeps it too, so that a take-over forgets nothing."""

    def __init__(
        self, settings: GatewaySettings, bus: Bus, outbox: Outbox, is_ready: Callable[[], bool], *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self.windows = Windows(
            settings.windows, lead_s=settings.window_lead_s, grace_s=settings.window_grace_s,
            began_ns=clock.wall_ns(),
        )  # fmt: skip
        self._instance = settings.instance
        self._bus = bus
        self._outbox = outbox
        self._is_ready = is_ready
        self._clock = clock
        self._state = WindowState(WindowPhase.CLEAR)

    def text(self) -> str:
        """Return the phase and the window, nothing while all is clear."""
        spell = self._state.spell
        return f"{self._state.phase} {spell.name}" if spell is not None else ""

    async def run(self) -> None:
        """Look every second until cancelled."""
        while True:
            state = self.windows.look(self._clock.wall_ns(), is_ready=self._is_ready())
            if state != self._state:
                self._state = state
                name = state.spell.name if state.spell is not None else ""
                log = get_logger().error if state.phase is WindowPhase.OUTLIVED else get_logger().info
                log("window.changed", phase=str(state.phase), window=name)
            await self._clock.sleep(EVERY_S)

    async def show(self) -> None:
        """Publish each change while leading, and where we are at the beginning."""
        shown: WindowState | None = None
        while True:
            state = self._state
            if state != shown:
                shown, spell = state, state.spell
                self._outbox.put(
                    self._bus.keys.broker_status,
                    BrokerWindow(
                        ts_init_ns=self._clock.wall_ns(), instance=self._instance, phase=state.phase,
                        name=spell.name if spell is not None else "",
                        opens_ns=spell.opens_ns if spell is not None else 0,
                        closes_ns=spell.closes_ns if spell is not None else 0,
                    ),
                )  # fmt: skip
            await self._clock.sleep(EVERY_S)
