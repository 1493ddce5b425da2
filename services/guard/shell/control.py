"""Halt, resume and look, over HTTP: for the gateway, for `cq halt` when Redis is down, and for people with curl.

| method, path | does |
|---|---|
| GET /halt | the latch and who holds the epoch |
| POST /halt `{"reason", "who"}` | holds; answered once nothing that adds exposure can leave any more |
| POST /resume `{"reason", "who"}` | opens; needs `Authorization: Bearer <GUARD_TOKEN>` (sim without a token: not) |
| POST /halt/contract `{"con_id", "reason", "who"}` | holds one contract, as /halt holds everything |
| POST /resume/contract `{"con_id", "reason", "who"}` | opens it; needs the token as /resume does |
| GET /epoch | the same; for gateways: a new leader must take a higher epoch, and knows of a halt that Redis lost |
| GET /healthz | 200 after a real API round trip to the broker, else 503 with the reason |
| GET /metrics | Prometheus |

A request that a browser sends for a page (it carries an Origin) is refused: no page may halt or resume.
"""

from __future__ import annotations

import hmac
import json

from aiohttp import web

from services.guard.core import latch
from services.guard.core.latch import Halt
from services.guard.metrics import HOLDING
from services.guard.shell.epoch import StateDir
from services.guard.shell.probe import BrokerProbe
from services.guard.shell.relay import Relay
from shared.clock import Clock
from shared.http_server import HttpServer, metrics
from shared.logs import get_logger

_MAX_TEXT = 200


class Control:
    """The HTTP side of the guard; `port` is known after `start`."""

    def __init__(
        self, relay: Relay, store: StateDir, probe: BrokerProbe, clock: Clock, *, token: str, needs_token: bool
    ) -> None:
        """`needs_token`: resume always wants the token, and is refused where none is set."""
        self._relay = relay
        self._store = store
        self._probe = probe
        self._clock = clock
        self._token = token
        self._needs_token = needs_token or bool(token)
        self._server: HttpServer | None = None
        HOLDING.set(1 if relay.gate.halt.is_holding else 0)

    async def start(self, host: str, port: int, *, halt_needs_token: bool = False) -> None:
        """Listen. `halt_needs_token` for addresses that others can reach.

        Raises:
            ConfigError: the port cannot be used.
        """
        self._halt_needs_token = halt_needs_token
        app = web.Application(client_max_size=1 << 16, middlewares=[_no_browsers])
        app.router.add_get("/halt", self._get_halt)
        app.router.add_post("/halt", self._post_halt)
        app.router.add_post("/resume", self._post_resume)
        app.router.add_post("/halt/contract", self._post_halt)
        app.router.add_post("/resume/contract", self._post_resume)
        app.router.add_get("/epoch", self._get_epoch)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", metrics)
        self._server = HttpServer(app, host=host, port=port, setting="GUARD_HTTP_PORT")
        await self._server.start()

    @property
    def port(self) -> int:
        """Return where it listens, 0 before it does."""
        return self._server.port if self._server is not None else 0

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            await self._server.stop()

    def _state(self) -> dict[str, object]:
        halt, highest = self._relay.gate.halt, self._relay.gate.highest
        return {
            "stage": "holding" if halt.is_holding else "none",
            "holding": halt.is_holding,
            "reason": halt.reason,
            "who": halt.who,
            "at_ns": halt.at_ns,
            "epoch": highest.epoch if highest else 0,
            "owner": highest.owner if highest else "",
            "contracts": {str(con_id): why for con_id, why in halt.contracts.items()},
        }

    async def _get_halt(self, _: web.Request) -> web.Response:
        return web.json_response(self._state())

    async def _get_epoch(self, _: web.Request) -> web.Response:
        return web.json_response(self._state())

    async def _post_halt(self, request: web.Request) -> web.Response:
        if self._halt_needs_token and not self._has_token(request):
            return _refusal("POST /halt needs the token here: Authorization: Bearer <GUARD_TOKEN>")
        reason, who, con_id = await _said(request)
        now = self._relay.gate.halt
        if request.path.endswith("/contract"):
            if con_id <= 0:
                return web.json_response({"error": "POST /halt/contract needs a con_id, a number"}, status=400)
            return await self._change(latch.contract_halted(now, con_id, reason=reason, who=who))
        return await self._change(latch.halted(now, reason=reason, who=who, at_ns=self._clock.wall_ns()))

    async def _post_resume(self, request: web.Request) -> web.Response:
        if self._needs_token and not self._has_token(request):
            return _refusal(
                "POST /resume needs the token: Authorization: Bearer <GUARD_TOKEN>"
                if self._token
                else "no GUARD_TOKEN is set: set it and start the guard again to be able to resume"
            )
        reason, who, con_id = await _said(request)
        now = self._relay.gate.halt
        if request.path.endswith("/contract"):
            return await self._change(latch.contract_resumed(now, con_id))
        return await self._change(latch.resumed(now, reason=reason, who=who, at_ns=self._clock.wall_ns()))

    async def _change(self, halt: Halt) -> web.Response:
        gate = self._relay.gate
        if halt != gate.halt:
            log = get_logger()
            opens_one = not gate.halt.contracts.keys() <= halt.contracts.keys()
            if not opens_one and (halt.is_holding or not gate.halt.is_holding):
                gate.halt = halt  # before the disk: from here on nothing passes
            try:
                self._store.save_halt(halt)
            except OSError as e:
                log.exception("halt.not_stored", error=str(e))
                text = f"the halt file could not be written ({e.strerror}); in memory: {self._state()['stage']}"
                return web.json_response({"error": text, **self._state()}, status=500)
            gate.halt = halt
            HOLDING.set(1 if halt.is_holding else 0)
            log.warning(
                "halt.changed", holding=halt.is_holding, reason=halt.reason, who=halt.who,
                contracts=list(halt.contracts),
            )  # fmt: skip
        if halt.is_holding or halt.contracts:
            await self._relay.flush_trading()
        return web.json_response(self._state())

    def _has_token(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
        return bool(self._token) and hmac.compare_digest(given, self._token.encode())

    async def _healthz(self, _: web.Request) -> web.Response:
        failure = await self._probe.check()
        return web.json_response({"ok": failure is None, "failed": failure}, status=503 if failure else 200)


@web.middleware
async def _no_browsers(request: web.Request, handler: object) -> web.StreamResponse:
    if request.headers.get("Origin"):
        return _refusal("pages may not talk to the guard")
    return await handler(request)  # type: ignore[operator, no-any-return]


def _refusal(text: str) -> web.Response:
    return web.json_response({"error": text}, status=403)


async def _said(request: web.Request) -> tuple[str, str, int]:
    """Return reason, author and contract (0: none) of a request; a halt is never refused for the form of the others."""
    try:
        values = json.loads(await request.text() or "{}")
    except ValueError:
        values = {}
    if not isinstance(values, dict):
        values = {}
    reason = str(values.get("reason") or "no reason given")[:_MAX_TEXT]
    con_id = str(values.get("con_id") or 0)
    who = str(values.get("who") or request.remote or "unknown")[:_MAX_TEXT]
    return reason, who, int(con_id) if con_id.isascii() and con_id.isdigit() and len(con_id) < 20 else 0
