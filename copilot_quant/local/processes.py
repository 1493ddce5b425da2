"""Say which processes a local system has, and with which settings each one starts.

The table is the same for the demo and for `cq up`: with a real TWS the simulator is left out and the guard stands in
front of the broker's port.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.settings import Mode

STRATEGY_WORKERS = 2
GATEWAYS = 2
TRADING_CLIENT_ID = 101


@dataclass(frozen=True, slots=True)
class Process:
    """One supervised process; `priority` orders the start (low first) and, reversed, the stop."""

    name: str
    command: tuple[str, ...]
    priority: int
    env: Mapping[str, str] = field(default_factory=dict)
    stop_wait_s: int = 8


@dataclass(frozen=True, slots=True)
class LocalPlan:
    """What to run and where.

    `redis_urls` has one URL per role (with that role's password); ports are on loopback. What must outlive a stop is in
    `state_dir` (default `run_dir`). `env_file` holds the person's own settings; what stands here wins over it.
    `simulator` is None when a real TWS or IB Gateway at `broker_host:broker_port` is used. `passthrough` settings go to
    every process.
    """

    mode: Mode
    deployment: str
    account: str
    redis_urls: Mapping[str, str]
    run_dir: str
    guard_port: int
    guard_http_port: int
    monitoring_port: int
    broker_host: str
    broker_port: int
    state_dir: str = ""
    env_file: str = ""
    simulator: Mapping[str, str] | None = None
    strategies_file: str = ""
    limits_file: str = ""
    lease_ttl_s: float = 1.0
    web_token: str = ""
    guard_token: str = ""
    gateways: int = GATEWAYS
    workers: int = STRATEGY_WORKERS
    passthrough: Mapping[str, str] = field(default_factory=dict)

    @property
    def audit_dir(self) -> str:
        """Return where monitoring keeps the audit: what `.env` names, else beside the other state."""
        return self.passthrough.get("CQ_AUDIT_DIR") or f"{self.state_dir or self.run_dir}/audit"


def services_of(plan: LocalPlan) -> list[Process]:
    """Return every process of a plan except Redis, in start order."""
    processes: list[Process] = []
    if plan.simulator is not None:
        processes.append(_service("simulator", "simulator", 20, {**_common(plan, "simulator"), **plan.simulator}))
    processes.append(_service("guard", "guard", 30, {**_common(plan, "guard"), **_guard_env(plan)}))
    for number in range(1, plan.gateways + 1):
        name = f"gateway-{number}"
        processes.append(_service("gateway", name, 40, {**_common(plan, name), **_gateway_env(plan, number)}))
    risk = {**_common(plan, "risk"), **({"RISK_LIMITS_FILE": plan.limits_file} if plan.limits_file else {})}
    processes.append(_service("risk", "risk", 40, risk))
    processes.append(_service("marketdata", "marketdata", 40, _common(plan, "marketdata")))
    for number in range(1, plan.workers + 1):
        name = f"strategy-{number}"
        env = {**_common(plan, name, role="strategy"), "STRATEGIES_FILE": plan.strategies_file}
        processes.append(_service("strategy", name, 50, env))
    monitoring = {
        **_common(plan, "monitoring"),
        "MONITORING_PORT": str(plan.monitoring_port),
        "CQ_WEB_TOKEN": plan.web_token,
        "CQ_AUDIT_DIR": plan.audit_dir,
    }
    processes.append(_service("monitoring", "monitoring", 60, monitoring))
    return processes


def _service(service: str, name: str, priority: int, env: Mapping[str, str]) -> Process:
    return Process(name, (sys.executable, "-m", f"services.{service}"), priority, env)


def _common(plan: LocalPlan, instance: str, *, role: str | None = None) -> dict[str, str]:
    role = role or instance.split("-")[0]
    env = {
        **plan.passthrough,
        "CQ_ENV_FILE": plan.env_file,
        "CQ_MODE": plan.mode.value,
        "CQ_DEPLOYMENT": plan.deployment,
        "CQ_INSTANCE": instance,
        "CQ_LEASE_TTL_S": str(plan.lease_ttl_s),
        "CQ_HTTP_PORT": "0",
        f"IB_{plan.mode.upper()}_ACCOUNT": plan.account,
    }
    if role in plan.redis_urls:
        env["REDIS_URL"] = plan.redis_urls[role]
    return env


def _guard_env(plan: LocalPlan) -> dict[str, str]:
    return {
        "GUARD_LISTEN_HOST": "127.0.0.1",
        "GUARD_LISTEN_PORT": str(plan.guard_port),
        "GUARD_UPSTREAM_HOST": plan.broker_host,
        "GUARD_UPSTREAM_PORT": str(plan.broker_port),
        "GUARD_STATE_DIR": f"{plan.state_dir or plan.run_dir}/guard",
        "GUARD_TRADING_CLIENT_IDS": str(TRADING_CLIENT_ID),
        "GUARD_HTTP_PORT": str(plan.guard_http_port),
        "GUARD_TOKEN": plan.guard_token,
    }


def _gateway_env(plan: LocalPlan, number: int) -> dict[str, str]:
    mode = plan.mode.upper()
    first = int(plan.passthrough.get(f"IB_{mode}_CLIENT_ID", "1"))
    return {
        f"IB_{mode}_HOST": "127.0.0.1",
        f"IB_{mode}_PORT": str(plan.guard_port),
        f"IB_{mode}_CLIENT_ID": str(first + number - 1),
        "GATEWAY_GUARD": f"127.0.0.1:{plan.guard_port}",
        "GATEWAY_GUARD_HTTP": f"http://127.0.0.1:{plan.guard_http_port}",
        "GATEWAY_GUARD_TOKEN": plan.guard_token,
        "GATEWAY_TRADING_CLIENT_IDS": str(TRADING_CLIENT_ID),
        "GATEWAY_STATE_DIR": f"{plan.state_dir or plan.run_dir}/gateway",
    }
