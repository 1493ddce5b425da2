"""The whole system in containers: it comes up, its workers share the units, and a killed leader is replaced.

Needs a container engine with the base images at hand (nothing is pulled) and some minutes; `make test` leaves it out:
`.venv/bin/pytest -m docker tests/e2e`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support import ROOT, eventually_sync, free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]
BROKERS = {"simulator", "ib-gateway-paper", "ib-gateway-live"}


@dataclass
class Compose:
    """One compose project of its own, seeing none of the person's settings."""

    project: str = "cq-e2e"
    settings: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, timeout_s: float = 120) -> str:
        command = ["docker", "compose", "--env-file", os.devnull, "--project-name", self.project, *arguments]
        inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME") or "DOCKER" in name}
        done = subprocess.run(
            command, cwd=ROOT, env={**inherited, **self.settings}, timeout=timeout_s, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-6000:]}"
        return done.stdout

    def config(self, *profiles: str) -> dict[str, Any]:
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        content: dict[str, Any] = json.loads(self(*chosen, "config", "--format", "json"))
        return content

    def redis(self, *words: str) -> str:
        script = 'exec redis-cli -u "$(cat /secrets/operator.url)" --no-auth-warning "$@"'
        return self("exec", "-T", "redis", "sh", "-c", script, "redis-cli", *words).strip()

    def leader(self) -> str:
        return self.redis("HGET", "cq:sim:lease:gateway", "owner")

    def heartbeats(self, service: str) -> list[dict[str, Any]]:
        names = self.redis("KEYS", f"cq:sim:heartbeat:{service}:*").split()
        found = [self.redis("GET", name) for name in names]
        return [json.loads(text) for text in found if text]

    def length(self, stream: str) -> int:
        return int(self.redis("XLEN", f"cq:sim:{stream}"))


@pytest.fixture(scope="module")
def tool() -> Compose:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker compose is not installed")
    return Compose(f"cq-e2e-{os.getpid()}", {"CQ_PAGE_PORT": str(free_port())})


@pytest.fixture(scope="module")
def compose(tool: Compose) -> Iterator[Compose]:
    if subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no container engine runs here")
    try:
        tool("build", "passwords", timeout_s=600)
        tool("up", "-d", "--wait", "--pull", "never", timeout_s=300)
        yield tool
    finally:
        tool("down", "-v", "--remove-orphans")


@pytest.mark.parametrize("profile", ["", "paper", "live", "tools"])
def test_nothing_is_published_but_the_status_page_on_this_machine(tool: Compose, profile: str) -> None:
    services = tool.config(*[profile] if profile else [])["services"]
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert list(published) == ["monitoring"]
    assert [(port["host_ip"], port["target"]) for port in published["monitoring"]] == [("127.0.0.1", 8080)]
    assert not any(service.get("network_mode") == "host" or service.get("privileged") for service in services.values())


@pytest.mark.parametrize("profile", ["paper", "live"])
def test_only_the_guard_can_reach_the_broker(tool: Compose, profile: str) -> None:
    content = tool.config(profile)
    assert content["networks"]["broker"]["internal"]
    on_it = {name for name, service in content["services"].items() if "broker" in (service.get("networks") or {})}
    assert on_it - BROKERS == {"guard"}
    shared = {name for name in BROKERS & set(content["services"]) if name != "simulator"}
    for name in shared:
        assert set(content["services"][name]["networks"]) == {"broker", "internet"}
    options = content["networks"]["internet"]["driver_opts"]
    assert options == {"com.docker.network.bridge.enable_icc": "false"}


@pytest.mark.parametrize("profile", ["paper", "live"])
def test_ib_gateway_is_pinned_and_set_up_to_be_left_alone(tool: Compose, profile: str) -> None:
    service = tool.config(profile)["services"][f"ib-gateway-{profile}"]
    assert service["image"].count(":") == 1 and not service["image"].endswith((":latest", ":stable"))
    wanted = {
        "TRADING_MODE": profile,
        "TWS_ACCEPT_INCOMING": "accept",
        "READ_ONLY_API": "no",
        "TWOFA_TIMEOUT_ACTION": "restart",
        "RELOGIN_AFTER_TWOFA_TIMEOUT": "yes",
        "TIME_ZONE": "America/New_York",
        "TWS_PASSWORD_FILE": "/run/secrets/tws_password",
    }
    environment = service["environment"]
    assert {name: environment.get(name) for name in wanted} == wanted
    assert environment["AUTO_RESTART_TIME"] and "TWS_PASSWORD" not in environment
    assert [mount["target"] for mount in service["volumes"]] == [environment["TWS_SETTINGS_PATH"]]


def test_no_service_of_ours_is_root_and_each_reads_the_passwords_of_its_own_group(tool: Compose) -> None:
    services = tool.config("paper", "tools")["services"]
    ours = {name: service for name, service in services.items() if service["image"] == "copilot-quant:local"}
    as_root = {name for name, service in ours.items() if service.get("user") == "root"}
    assert as_root == {"passwords", "ib-settings"}
    assert all(ours[name]["network_mode"] == "none" for name in as_root)
    users = [service["user"] for name, service in ours.items() if "user" in service and name not in as_root]
    assert len(set(users)) == len(users) - 1  # the two gateways share one
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in ours.values())
    assert set(ours["strategy"]["networks"]) == {"bus"} and tool.config()["networks"]["bus"]["internal"]


def test_it_trades_and_shows_its_page(compose: Compose) -> None:
    eventually_sync(lambda: compose.length("fills") > 0, timeout_s=60, every_s=1)
    address = f"http://127.0.0.1:{compose.settings['CQ_PAGE_PORT']}/"
    with urllib.request.urlopen(f"{address}api/state", timeout=10) as reply:
        assert json.load(reply)["leader"]["instance"] == compose.leader()
    peeked = json.loads(compose.redis("FCALL_RO", "cq_peek", "1", "cq:sim:fills", "1"))
    assert peeked[0]["body"]["account"] == "DUSIM0001"
    assert compose.length("dead-letter") == 0


def test_a_strategy_can_neither_read_what_risk_may_nor_leave_the_bus(compose: Compose) -> None:
    script = "test -r /secrets/strategy.url && ! cat /secrets/risk.url && ! cat /secrets/admin.url"
    compose("exec", "-T", "strategy", "sh", "-c", script)
    reach = "import socket; socket.create_connection(('guard', 4100), 2)"
    compose("exec", "-T", "strategy", "sh", "-c", f'! python -c "{reach}"')


def test_four_workers_share_the_units(compose: Compose) -> None:
    before = {unit for beat in compose.heartbeats("strategy") for unit in beat["units"]}
    compose("up", "-d", "--wait", "--scale", "strategy=4", "--no-recreate", "--pull", "never", timeout_s=300)

    def shared() -> bool:
        found = [beat["units"] for beat in compose.heartbeats("strategy")]
        every = [unit for mine in found for unit in mine]
        assert len(found) == 4 and all(found) and sorted(every) == sorted(before), found
        return True

    eventually_sync(shared, timeout_s=60, every_s=1)


def test_a_killed_leader_is_replaced_and_comes_back_as_standby(compose: Compose) -> None:
    first = compose.leader()
    other = {"gateway-1": "gateway-2", "gateway-2": "gateway-1"}[first]
    compose("exec", "-T", first, "sh", "-c", "kill -9 -1")
    eventually_sync(lambda: compose.leader() == other, timeout_s=30, every_s=1)
    fills = compose.length("fills")
    eventually_sync(lambda: compose.length("fills") > fills, timeout_s=60, every_s=1)

    def is_back() -> bool:
        return any(beat["instance"] == first and beat["ready"] for beat in compose.heartbeats("gateway"))

    eventually_sync(is_back, timeout_s=60, every_s=1)
    assert compose.leader() == other and compose.length("dead-letter") == 0
