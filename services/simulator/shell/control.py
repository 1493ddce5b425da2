"""Look into the exchange and break it on demand, over HTTP on loopback.

| request | answer |
|---|---|
| `GET /truth` | the broker's own books as JSON; `?orders=no` leaves the lists out |
| `GET /truth/ledger` | everything that happened, as JSON lines; `?after=SEQ` for the newer part |
| `GET /commands` | every command with its parameters, what is broken now, what was asked for |
| `POST /commands/<name>` | carry one out; parameters as a JSON object (`/faults` is the same, older name) |
| `GET /healthz` `/readyz` `/metrics` | as every service |

A request that a browser sent from another page (with an Origin that is not this server) is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from aiohttp import web

from services.simulator.shell.sockets import Exchange
from shared.errors import BadInput
from shared.http_server import HttpServer, metrics


class Control(HttpServer):
    """The control server."""

    def __init__(self, exchange: Exchange, *, host: str, port: int) -> None:
        self._exchange = exchange
        app = web.Application(middlewares=[_same_origin], client_max_size=1 << 16)
        app.router.add_get("/truth", self._truth)
        app.router.add_get("/truth/ledger", self._ledger)
        app.router.add_get("/faults", self._faults)
        app.router.add_post("/faults/{name}", self._inject)
        app.router.add_get("/commands", self._faults)
        app.router.add_post("/commands/{name}", self._inject)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._healthz)
        app.router.add_get("/metrics", metrics)
        super().__init__(app, host=host, port=port, setting="SIM_HTTP_PORT")

    async def _truth(self, request: web.Request) -> web.Response:
        exchange = self._exchange
        with_orders = request.query.get("orders", "yes") != "no"
        return web.json_response(exchange.engine.truth(exchange.now_ns(), with_orders=with_orders), dumps=_dumps)

    async def _ledger(self, request: web.Request) -> web.Response:
        try:
            after = int(request.query.get("after", "0"))
        except ValueError:
            return web.json_response({"error": "after must be a whole number"}, status=400)
        lines = self._exchange.engine.floor.ledger.tail(after)
        body = "".join(f"{line}\n" for line in lines)
        return web.Response(text=body, content_type="application/jsonl")

    async def _faults(self, _: web.Request) -> web.Response:
        engine = self._exchange.engine
        now = {**engine.floor.faults.now(), "listening": self._exchange.is_listening}
        history = [
            {"name": each.name, "at_ns": each.at_ns, "parameters": each.parameters}
            for each in engine.floor.faults.history
        ]
        answer = {
            "faults": engine.commands.names(),
            "commands": [asdict(each) for each in engine.commands.help()],
            "now": now,
            "history": history,
        }
        return web.json_response(answer, dumps=_dumps)

    async def _inject(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        try:
            parameters = await request.json() if request.can_read_body else {}
        except json.JSONDecodeError as e:
            return web.json_response({"error": f"the body is not JSON: {e}"}, status=400)
        if not isinstance(parameters, dict):
            return web.json_response({"error": "the body must be a JSON object"}, status=400)
        try:
            self._exchange.inject_fault(name, parameters)
        except BadInput as e:
            return web.json_response({"error": str(e)}, status=400)
        return web.json_response({"ok": True, "name": name, "parameters": parameters})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": True, "listening": self._exchange.is_listening, "port": self._exchange.port})


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str)


@web.middleware
async def _same_origin(request: web.Request, handler: Any) -> web.StreamResponse:
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        return web.json_response({"error": "requests from other pages are refused"}, status=403)
    answer: web.StreamResponse = await handler(request)
    return answer
