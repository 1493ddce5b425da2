"""Draw what goes wrong, and when, from a seed: the same seed, length and pace give the same schedule.

Faults of one place are kept apart, so that each has an effect of its own to be judged by: a Redis that is killed while
it is being rolled back proves nothing more. Faults of different places overlap freely.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Draw = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: seconds after the start, its name in the table below, and its drawn parameters."""

    at_s: float
    name: str
    place: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return the fault in one line."""
        words = " ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.at_s:8.2f} s  {self.place:<8} {self.name}{' ' if words else ''}{words}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: where it is, how often it is drawn, how long its place is left alone, which numbers it draws."""

    name: str
    place: str
    weight: float
    rest_s: float
    draws: Draw = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)


LEASE_S = 1.0
SHORT, LONG = (0.2, 0.8), (1.3, 4.0)
"""Pauses shorter and longer than the lease of 1 s; with another lease they are as many times as long."""

KINDS: tuple[Kind, ...] = (
    Kind("kill_leader", "gateway", 4, 4.0),
    Kind("kill_standby", "gateway", 2, 2.0),
    Kind("pause_leader", "gateway", 4, 2.0, {"seconds": SHORT}),
    Kind("pause_leader", "gateway", 6, 4.0, {"seconds": LONG}),
    Kind("pause_standby", "gateway", 2, 2.0, {"seconds": LONG}),
    Kind("handover", "gateway", 3, 2.0),
    Kind("kill_risk", "risk", 3, 4.0),
    Kind("pause_risk", "risk", 3, 3.0, {"seconds": SHORT}),
    Kind("pause_risk", "risk", 4, 4.0, {"seconds": LONG}),
    Kind("kill_strategy", "others", 1, 8.0),
    Kind("kill_marketdata", "others", 1, 8.0),
    Kind("kill_guard", "guard", 3, 5.0),
    Kind("kill_guard_without_disk", "guard", 2, 5.0),
    Kind("pause_guard", "guard", 3, 4.0, {"seconds": (0.3, 3.0)}),
    Kind("redis_kill", "redis", 2, 9.0, {"down_s": (0.1, 0.3)}),
    Kind("redis_kill", "redis", 2, 11.0, {"down_s": (3.0, 5.0)}),
    Kind("redis_pause", "redis", 3, 4.0, {"seconds": SHORT}),
    Kind("redis_split", "redis", 3, 11.0, {"seconds": (2.5, 4.0)}),
    Kind("redis_promote", "redis", 2, 9.0),
    Kind("redis_lose_end", "redis", 3, 11.0, {"lost_s": (0.3, 2.0), "down_s": (3.0, 5.0)}),
    Kind("redis_roll_back", "redis", 3, 11.0, {"age_s": (0.5, 6.0)}),
    Kind("replica_kill", "redis", 1, 4.0, {"down_s": (0.5, 2.0)}),
    Kind("kill_leader_and_redis", "redis", 2, 12.0, {"down_s": (0.2, 4.0)}),
    Kind("cut_leader_from_redis", "network", 4, 5.0, {"seconds": (0.3, 4.0)}, {"act": "hold"}),
    Kind("cut_leader_from_redis", "network", 3, 5.0, {"seconds": (0.3, 4.0)}, {"act": "drop"}),
    Kind("cut_leader_from_redis", "network", 2, 5.0, {"seconds": (1.5, 4.0)}, {"act": "lose"}),
    Kind("slow_leader_to_redis", "network", 2, 6.0, {"seconds": (2.0, 5.0), "delay_s": (0.05, 0.5)}),
    Kind("cut_standby_from_redis", "network", 2, 4.0, {"seconds": (0.3, 4.0)}, {"act": "hold"}),
    Kind("cut_leader_from_guard", "network", 4, 6.0, {"seconds": (0.2, 5.0)}, {"act": "drop"}),
    Kind("cut_leader_from_guard", "network", 3, 6.0, {"seconds": (0.5, 5.0)}, {"act": "hold"}),
    Kind("cut_leader_from_guard", "network", 2, 6.0, {"seconds": (0.5, 5.0)}, {"act": "lose"}),
    Kind("cut_guard_from_broker", "network", 2, 6.0, {"seconds": (0.2, 4.0)}, {"act": "drop"}),
    Kind("cut_guard_from_broker", "network", 2, 6.0, {"seconds": (0.5, 4.0)}, {"act": "hold"}),
    Kind("cut", "broker", 3, 4.0, {}, {"client_id": 101, "abrupt": True}),
    Kind("half_open", "broker", 2, 12.0, {}, {"client_id": 101}),
    Kind("refuse", "broker", 1, 5.0, {"seconds": (0.5, 2.0)}),
    Kind("restart", "broker", 2, 8.0, {"seconds": (1.0, 4.0)}),
    Kind("auto_restart", "broker", 2, 8.0, {"seconds": (1.0, 4.0), "lose_s": (0.1, 0.6)}),
    Kind("hang", "broker", 1, 8.0, {"seconds": (0.5, 3.0)}),
    Kind("stuck_client", "broker", 2, 6.0, {"seconds": (0.5, 4.0)}, {"client_id": 101}),
    Kind("stall", "broker", 2, 6.0, {"seconds": (0.5, 3.0)}, {"client_id": 101}),
    Kind("data_stall", "broker", 1, 2.0, {"seconds": (0.5, 4.0)}),
    Kind("slow", "broker", 2, 4.0, {"seconds": (1.0, 4.0), "delay_ms": (50, 600)}),
    Kind("outage", "broker", 3, 8.0, {"seconds": (0.5, 4.0)}, {"code": 1102}),
    Kind("outage", "broker", 2, 8.0, {"seconds": (0.5, 4.0)}, {"code": 1101, "keep_orders": False}),
    Kind("nightly_reset", "broker", 1, 14.0, {"seconds": (0.5, 2.0), "port_seconds": (1.0, 3.0)}),
    Kind("farm_flap", "broker", 2, 3.0),
    Kind("missing_end", "broker", 2, 6.0, {}, {"name": "execDetailsEnd"}),
    Kind("missing_end", "broker", 2, 6.0, {}, {"name": "openOrderEnd"}),
    Kind("drop_message", "broker", 3, 2.0, {}, {"name": "orderStatus", "count": 3}),
    Kind("drop_message", "broker", 3, 2.0, {}, {"name": "openOrder", "count": 2}),
    Kind("late_message", "broker", 4, 1.5, {"delay_ms": (50, 2500)}, {"name": "orderStatus", "count": 5}),
    Kind("late_message", "broker", 3, 1.5, {"delay_ms": (50, 2500)}, {"name": "execDetails", "count": 3}),
    Kind("duplicate_message", "broker", 4, 1.5, {"delay_ms": (0, 1500)}, {"name": "orderStatus", "count": 5}),
    Kind("duplicate_message", "broker", 4, 1.5, {"delay_ms": (0, 1500)}, {"name": "execDetails", "count": 5}),
    Kind("commission_first", "broker", 2, 1.5, {}, {"count": 3}),
    Kind("false_alarms", "broker", 3, 1.5, {}, {"count": 3}),
    Kind("lose_orders", "broker", 3, 5.0, {}, {"count": 2}),
    Kind("rollback_order_ids", "broker", 2, 4.0, {}, {"client_id": 101, "by": 5}),
)
BROKER_COMMANDS = frozenset(kind.name for kind in KINDS if kind.place == "broker")


def draw(seed: int, seconds: float, *, every_s: float = 2.5, lease_s: float = LEASE_S) -> list[Fault]:
    """Return the faults of a run, in order: one every `every_s` seconds on average, never two close in one place."""
    dice = random.Random(f"chaos {seed}")
    at_s = 0.0
    faults: list[Fault] = []
    free_from: dict[str, float] = {}
    while True:
        at_s += dice.uniform(0.4, 1.6) * every_s
        if at_s >= seconds:
            return faults
        fitting = [kind for kind in KINDS if free_from.get(kind.place, 0.0) <= at_s]
        if not fitting:
            continue
        kind = dice.choices(fitting, [one.weight for one in fitting])[0]
        drawn = {name: round(dice.uniform(*bounds), 2) for name, bounds in kind.draws.items()}
        if kind.draws.get("seconds") in (SHORT, LONG):
            drawn["seconds"] = round(drawn["seconds"] * lease_s / LEASE_S, 2)
        faults.append(Fault(round(at_s, 2), kind.name, kind.place, {**kind.fixed, **drawn}))
        free_from[kind.place] = at_s + kind.rest_s * max(1.0, lease_s / LEASE_S)
