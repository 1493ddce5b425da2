"""The whole system as real processes, with a way to cut every connection that matters.

Three gateways, two risk processes, guard, simulator, marketdata and a strategy worker under supervisord; Redis as a
pair with Sentinels. Each gateway reaches Redis and the guard through proxies of its own, the guard the broker through
another.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from copilot_quant.local.ports import reserve_ports
from copilot_quant.local.processes import LocalPlan, Process, services_of
from copilot_quant.local.supervision import Supervisor
from shared.bus.acl import ROLES, acl_lines
from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.clock import random_token
from shared.runtime import until_available
from shared.settings import Mode
from tests.chaos.proxy import Proxy, renamed
from tests.chaos.schedule import LEASE_S
from tests.chaos.servers import Servers
from tests.support import ROOT

GATEWAYS = 3
DEPLOYMENT, ACCOUNT = "chaos", "DUSIM0001"
LIMITS = """
profile = "small-paper"
rules = 2
[limits]
order_quantity_max = 1000
order_notional_max = "unlimited"
price_collar_percent = "unlimited"
position_quantity_max = "unlimited"
position_notional_max = "unlimited"
strategy_position_quantity_max = "unlimited"
strategy_position_notional_max = "unlimited"
exposure_gross_max = "unlimited"
exposure_net_max = "unlimited"
exposure_currency_max = "unlimited"
buying_power_share = "unlimited"
strategy_rate_per_s = 200
strategy_rate_burst = 400
account_rate_per_s = 200
account_rate_burst = 400
messages_per_s_max = "unlimited"
open_orders_max = 5000
open_orders_side_max = 5000
turnover_day_max = "unlimited"
trades_day_max = "unlimited"
orders_per_fill_max = "unlimited"
repeats = "allow"
duplicates = "allow"
self_cross = "allow"
daily_loss_max = "unlimited"
drawdown_max = "unlimited"
strategy_loss_max = "unlimited"
rejects_max = "unlimited"
"""
"""The drill is about failover: nothing but a missing part may keep an order from the broker."""


class ChaosSystem:
    """The processes, servers and proxies of one run."""

    def __init__(
        self, *, seed: int, min_replicas: int = 0, tick_rate: float = 4.0, lease_s: float = LEASE_S,
        gateway_env: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._gateway_env = dict(gateway_env or {})
        self.run_dir = Path(tempfile.mkdtemp(prefix="cq-chaos-"))
        passwords = {role: random_token(24) for role in ROLES}
        keys = Keys(DEPLOYMENT)
        self.servers = Servers(self.run_dir, acl_lines(keys, passwords), passwords["admin"], min_replicas=min_replicas)
        ports = reserve_ports(6)
        self.guard_port, self.guard_http_port, monitoring, simulator, self.simulator_http_port, to_broker = ports
        limits = self.run_dir / "limits.toml"
        limits.write_text(LIMITS)
        self.guard_dir = self.run_dir / "guard"
        self._passwords = passwords
        self.broker_link = Proxy(to_broker, simulator)
        self.guard_links: dict[str, Proxy] = {}
        self.redis_links: dict[str, list[Proxy]] = {}
        self._fronts: dict[str, int] = {}
        for number in range(1, GATEWAYS + 1):
            name = f"gateway-{number}"
            to_guard, front, first, second = reserve_ports(4)
            self.guard_links[name] = Proxy(to_guard, self.guard_port)
            self.redis_links[name] = [Proxy(first, self.servers.pair[0].port), Proxy(second, self.servers.pair[1].port)]
            self._fronts[name] = front
        self.plan = LocalPlan(
            mode=Mode.SIM, deployment=DEPLOYMENT, account=ACCOUNT, redis_urls={}, run_dir=str(self.run_dir),
            guard_port=self.guard_port, guard_http_port=self.guard_http_port, monitoring_port=monitoring,
            broker_host="127.0.0.1", broker_port=to_broker,
            simulator={
                "SIM_HOST": "127.0.0.1", "SIM_PORT": str(simulator), "SIM_HTTP_PORT": str(self.simulator_http_port),
                "SIM_ACCOUNTS": ACCOUNT, "SIM_SEED": str(seed), "SIM_TICK_RATE": str(tick_rate),
                "SIM_MAX_ORDERS_PER_SIDE": "100000", "SIM_CASH": "1000000000",
                "SIM_STATE_DIR": str(self.run_dir / "simulator"),
            },
            strategies_file=str(ROOT / "strategies" / "strategies.toml"), limits_file=str(limits),
            lease_ttl_s=lease_s, gateways=GATEWAYS, workers=1,
            guard_token=random_token(24),
        )  # fmt: skip
        self.supervisor: Supervisor

    def operator_env(self) -> dict[str, str]:
        """Return the settings of an operator's process."""
        return {
            "CQ_MODE": "sim", "CQ_DEPLOYMENT": DEPLOYMENT, "IB_SIM_ACCOUNT": ACCOUNT, "CQ_ENV_FILE": "",
            "REDIS_URL": self.servers.url("operator", self._passwords["operator"]),
        }  # fmt: skip

    @property
    def simulator_http(self) -> str:
        """Return the address of the broker's own books."""
        return f"http://127.0.0.1:{self.simulator_http_port}"

    async def start(self) -> None:
        """Start servers, proxies and processes."""
        self.servers.start()
        admin = self.servers.url("admin", self._passwords["admin"])
        bus = open_bus(admin, Keys(DEPLOYMENT), client_name="cq-bootstrap")
        await until_available(bus.load_functions, what="redis")
        await bus.close()
        await self.broker_link.start()
        for name, link in self.guard_links.items():
            await link.start()
            pair = self.redis_links[name]
            for one in pair:
                await one.start()
            names = {server.port: one.port for server, one in zip(self.servers.pair, pair, strict=True)}
            front = Proxy(self._fronts[name], self.servers.sentinel_ports[0], rewrite=renamed(names))
            await front.start()
            pair.append(front)
        self.supervisor = Supervisor(self.run_dir, self._processes(), Path.cwd(), keep_files=True)
        self.supervisor.start()

    def _processes(self) -> list[Process]:
        found = []
        for process in services_of(self.plan):
            if process.name == "monitoring":
                continue
            role = process.name.split("-")[0]
            env = {**process.env}
            if role in self._passwords:
                ports = [self._fronts[process.name]] if role == "gateway" else None
                env["REDIS_URL"] = self.servers.url(role, self._passwords[role], ports)
            if role == "gateway":
                env |= {"GATEWAY_GUARD": f"127.0.0.1:{self.guard_links[process.name].port}", **self._gateway_env}
            found.append(replace(process, env=env))
            if role == "risk":
                found.append(replace(process, name="risk-2", env={**env, "CQ_INSTANCE": "risk-2"}))
        return found

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a process by its name; return its process id, 0 if it is not there."""
        return self.supervisor.kill(name, number)

    def forget_guard(self) -> None:
        """Take the guard's disk away, while it is dead."""
        shutil.rmtree(self.guard_dir, ignore_errors=True)

    async def stop(self) -> None:
        """Stop everything; the run directory stays until `remove`."""
        for info in self.supervisor.processes():
            if info.pid:
                os.kill(info.pid, signal.SIGCONT)
        self.supervisor.stop()
        for link in (
            self.broker_link,
            *self.guard_links.values(),
            *(one for all_ in self.redis_links.values() for one in all_),
        ):
            await link.stop()
        self.servers.stop()

    def remove(self) -> None:
        """Remove the run directory."""
        shutil.rmtree(self.run_dir, ignore_errors=True)
