from __future__ import annotations

from collections.abc import Callable

import pytest

from copilot_quant.findings import Finding
from tests.unit.copilot_quant.cli.conftest import Typed, World

Cq = Callable[..., Typed]
ASKED: list[tuple[str, int]] = []


@pytest.fixture(autouse=True)
def _broker(monkeypatch: pytest.MonkeyPatch) -> None:
    async def examine(host: str, port: int, settings: object) -> list[Finding]:
        ASKED.append((host, port))
        return [Finding("account", "ok" if port != 1 else "bad", "DUSIM0001", "" if port != 1 else "log in")]

    ASKED.clear()
    monkeypatch.setattr("copilot_quant.cli.troubleshooting.examine_broker", examine)


def healthy(world: World) -> None:
    for service in ("gateway", "risk", "marketdata", "strategy", "monitoring"):
        world.beat(service, role="leader")
    world.put(lambda bus: bus.hash_set(bus.keys.halt, {"stage": "none"}))


def test_connect_looks_where_the_settings_say_or_where_it_is_told(world: World, cq: Cq) -> None:
    assert cq("connect").status == 0
    assert cq("connect", "--host", "tws", "--port", "7497").status == 0
    assert ASKED == [("127.0.0.1", 4102), ("tws", 7497)]


def test_something_wrong_is_status_69_with_its_cure(world: World, cq: Cq) -> None:
    done = cq("connect", "--port", "1")
    assert done.status == 69 and "wrong" in done.out and "log in" in done.out
    assert cq("connect", "--port", "1", "--json").json[0]["cure"] == "log in"


def test_doctor_of_a_healthy_system_is_status_0(world: World, cq: Cq) -> None:
    healthy(world)
    done = cq("doctor")
    assert done.status == 0, done.out
    assert "Redis" in done.out and "DUSIM0001" in done.out


def test_doctor_without_redis_says_so_and_still_looks_at_the_broker(world: World, cq: Cq) -> None:
    world.is_away = True
    rows = {row["name"]: row for row in cq("doctor", "--json").json}
    assert rows["Redis"]["state"] == "bad" and "REDIS_URL" in rows["Redis"]["cure"]
    assert rows["account"]["state"] == "ok"
