"""The status page: static files, state as JSON, live updates over server-sent events, and the operator's controls.

Safety:
1. Reading needs no token, and answers only to host names we know (no DNS rebinding).
2. Controls need the bearer token, and refuse a page of another origin; without `CQ_WEB_TOKEN` they do not exist.
3. Every answer carries a content security policy of `'self'` alone; the page shows everything as text, never as HTML.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from services.monitoring.core.views import StatusView
from services.monitoring.metrics import CONTROLS
from services.monitoring.shell.controls import Controls
from shared.clock import Clock
from shared.errors import BadInput, OutcomeUnknown, TransientError
from shared.health import Health
from shared.http_server import HttpServer, add_health
from shared.logs import get_logger

STATIC = Path(__file__).resolve().parent.parent / "static"
MAX_LIVE = 32
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_OPEN_TO_PROBES = ("/healthz", "/readyz", "/metrics")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """The web application. Call `push` when the state changed."""

    def __init__(
        self,
        view: StatusView,
        health: Health,
        *,
        clock: Clock,
        controls: Controls | None = None,
        token: str = "",
        allowed_hosts: tuple[str, ...] = (),
        trouble: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._view = view
        self._health = health
        self._clock = clock
        self._controls = controls if token else None
        self._token = token.encode()
        self._hosts = (*_LOOPBACK, *allowed_hosts)
        self._trouble = trouble
        self._changed = asyncio.Event()
        self._live = 0
        self._stopping = False

    def application(self) -> web.Application:
        """Return the application, ready to be run."""
        app = web.Application(middlewares=[self._guard], client_max_size=16_384)
        app.router.add_get("/", self._index)
        app.router.add_get("/api/state", self._state)
        app.router.add_get("/api/chart", self._chart)
        app.router.add_get("/api/live", self._live_state)
        add_health(app, self._health)
        app.router.add_post("/api/{action}", self._control)
        app.router.add_static("/static/", STATIC)
        app.on_shutdown.append(self._stop)
        return app

    def push(self) -> None:
        """Wake every live reader."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _stop(self, _: web.Application) -> None:
        self._stopping = True
        self.push()

    # ------------------------------------------------------------------------------------------- guard

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = urlsplit(f"//{request.host}").hostname or ""
        shown = f"[{host}]" if ":" in host else host
        if shown not in self._hosts and request.path not in _OPEN_TO_PROBES:
            refused = web.json_response(
                {"error": f"host {shown!r} is not allowed: add it to MONITORING_ALLOWED_HOSTS"}, status=421
            )
            refused.headers.update(_HEADERS)
            return refused
        try:
            response = await handler(request)
        except web.HTTPException as e:
            e.headers.update(_HEADERS)
            raise
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    def _refusal(self, request: web.Request) -> str | None:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and urlsplit(origin).netloc != request.host:
            return f"a page of {origin} may not give controls"
        given = request.headers.get(hdrs.AUTHORIZATION, "").removeprefix("Bearer ").encode()
        if not hmac.compare_digest(given, self._token):
            return "the token is missing or wrong"
        return None

    # ------------------------------------------------------------------------------------------ reading

    def _content(self) -> str:
        state = self._view.state(self._clock.wall_ns())
        state["trouble"] = self._trouble()
        state["has_controls"] = self._controls is not None
        return json.dumps(state, default=str)

    async def _index(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html", headers=_HEADERS)

    async def _state(self, _: web.Request) -> web.Response:
        return web.Response(text=self._content(), content_type="application/json")

    async def _chart(self, request: web.Request) -> web.Response:
        con_id = request.query.get("con_id", "")
        if not (con_id.isascii() and con_id.isdigit() and len(con_id) < 15):
            return web.json_response({"error": f"con_id {con_id[:40]!r} is no number"}, status=400)
        return web.json_response(self._view.chart(int(con_id)))

    async def _live_state(self, request: web.Request) -> web.StreamResponse:
        if self._live >= MAX_LIVE:
            return web.json_response({"error": f"{MAX_LIVE} pages are open already"}, status=503)
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        self._live += 1
        try:
            await response.prepare(request)
            while not self._stopping:
                await response.write(f"data: {self._content()}\n\n".encode())
                changed = self._changed
                try:
                    async with asyncio.timeout(10.0):
                        await changed.wait()
                except TimeoutError:
                    continue  # a page that closed is noticed by writing
        except ConnectionResetError:
            pass  # the page was closed
        finally:
            self._live -= 1
        return response

    # ----------------------------------------------------------------------------------------- controls

    async def _control(self, request: web.Request) -> web.Response:
        action = request.match_info["action"]
        if self._controls is None:
            CONTROLS.labels("off").inc()
            return web.json_response({"error": "controls are off: set CQ_WEB_TOKEN"}, status=403)
        refusal = self._refusal(request)
        if refusal is not None:
            CONTROLS.labels("refused").inc()
            get_logger().warning("control.refused", action=action, reason=refusal, peer=request.remote)
            status = 401 if refusal.startswith("the token") else 403
            return web.json_response({"error": refusal}, status=status)
        try:
            asked = await request.json() if request.can_read_body else {}
            if not isinstance(asked, dict):
                raise BadInput("the body must be a JSON object")
            control = await self._controls.give(action, asked)
        except (BadInput, ValueError) as e:
            return web.json_response({"error": str(e)}, status=400)
        except (TransientError, OutcomeUnknown) as e:
            return web.json_response({"error": f"not known to be written: {e}"}, status=503)
        CONTROLS.labels("given").inc()
        get_logger().info("control.given", action=action, control_id=control.control_id, scope=control.scope)
        return web.json_response({"control_id": control.control_id, "action": action}, status=202)


def page_server(page: Page, *, host: str, port: int) -> HttpServer:
    """Return the server of a page; its live readers do not hold a stop up."""
    return HttpServer(page.application(), host=host, port=port, setting="MONITORING_PORT", close_limit_s=1.0)
