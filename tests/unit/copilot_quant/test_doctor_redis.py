from __future__ import annotations

import pytest

from copilot_quant.doctor_redis import redis_findings
from shared.bus.addresses import Kind

GOOD = {"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "aof_enabled": "1", "connected_slaves": "0"}


def test_a_single_server_set_up_well_is_one_good_line() -> None:
    (only,) = redis_findings(GOOD, Kind.SINGLE)
    assert only.state == "ok" and "7.2.4" in only.text


@pytest.mark.parametrize(
    "facts, kind, name, state, cure",
    [
        ({"redis_version": "6.2.1"}, Kind.SINGLE, "Redis", "bad", "Redis 7 or newer"),
        ({"maxmemory_policy": "allkeys-lru"}, Kind.SINGLE, "Redis memory", "bad", "noeviction"),
        ({"aof_enabled": "0"}, Kind.SINGLE, "Redis files", "warn", "appendonly yes"),
        ({"aof_last_write_status": "err"}, Kind.SINGLE, "Redis files", "bad", "disk"),
        ({"connected_slaves": "1"}, Kind.SINGLE, "Redis replicas", "bad", "min-replicas-to-write 1"),
        ({}, Kind.SENTINEL, "Redis replicas", "bad", "min-replicas-to-write 1"),
        ({"min_slaves_good_slaves": "0"}, Kind.SENTINEL, "Redis replicas", "bad", "start the replica"),
        (
            {"connected_slaves": "1", "min_slaves_good_slaves": "1"},
            Kind.SENTINEL,
            "Redis replicas",
            "ok",
            "",
        ),
    ],
)
def test_what_can_lose_acknowledged_writes_is_named(
    facts: dict[str, str], kind: Kind, name: str, state: str, cure: str
) -> None:
    found = [one for one in redis_findings({**GOOD, **facts}, kind) if one.name == name]
    assert [one.state for one in found] == [state] and cure in found[0].cure


def test_valkey_is_called_by_its_name() -> None:
    found = redis_findings({**GOOD, "valkey_version": "8.1.0"}, Kind.SINGLE)
    assert found[0].text == "Valkey 8.1.0 answers"
