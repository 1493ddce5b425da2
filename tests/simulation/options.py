"""Everything a run may vary, drawn from its seed."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field


@dataclass
class Options:
    """One run: who takes part, how long it rages, and what may go wrong how often (events per virtual second)."""

    seed: int = 0
    rage_s: float = 20.0
    settle_s: float = 60.0
    gateways: int = 2
    risks: int = 2
    workers: int = 0
    hot: tuple[int, ...] = ()
    """Gateways that subscribe while they stand by (GATEWAY_STANDBY=hot); the others are warm."""
    has_guard: bool = True
    trading_ids: tuple[int, ...] = (101,)
    lease_ttl_s: float = 1.0
    quarantine_s: float = 1.0
    drift: float = 0.02
    wall_offset_s: float = 0.05
    wall_jump_s: float = 0.0
    min_replicas_lag_s: float = 0.0
    broker: dict[str, float] = field(default_factory=dict)
    orders_per_s: float = 2.0
    rates: dict[str, float] = field(default_factory=dict)
    """Fault → how often per second."""

    def shown(self) -> str:
        """Return it as one line."""
        return " ".join(f"{name}={value}" for name, value in asdict(self).items())


PROCESS_FAULTS = ("crash", "pause", "hang")
NETWORK_FAULTS = (
    "bus_cut",
    "bus_loss",
    "bus_late",
    "bus_fading",
    "handover_late",
    "wire_reset",
    "wire_late",
    "wire_half_open",
)
BROKER_FAULTS = ("cut_off", "broker_restart", "broker_silent", "stuck_id", "midnight", "by_hand")
REDIS_FAULTS = (
    "redis_restart",
    "redis_failover",
    "redis_split",
    "redis_older",
    "redis_empty",
    "redis_full",
    "redis_slow",
)
GUARD_FAULTS = ("guard_crash", "guard_pause")
CLOCK_FAULTS = ("wall_jump", "redis_clock")
OPERATOR = ("halt",)
PART_HALT = "part_halt"
"""A halt or pause of a strategy or a contract: drawn apart as intrusions are, in one run of three."""
INTRUSIONS = ("poison", "foreign_intent", "other_login", "two_accounts", "foreign_identity")
"""Drawn apart, in one run of three, so that the other faults of a seed do not depend on them."""
FAULTS = (*PROCESS_FAULTS, *NETWORK_FAULTS, *BROKER_FAULTS, *REDIS_FAULTS, *GUARD_FAULTS, *CLOCK_FAULTS, *OPERATOR)


def drawn(seed: int) -> Options:
    """Draw a run's options: a few kinds of faults per run, so that each is seen alone and in company."""
    rng = random.Random(f"options:{seed}")
    kinds = rng.sample(FAULTS, k=rng.choice((1, 2, 3, 4, 6, 9)))
    if rng.random() < 0.4:
        kinds.append("crash")
    rates = {kind: rng.choice((0.08, 0.17, 0.35, 0.7)) for kind in kinds}
    for rare in ("redis_older", "redis_empty", "broker_restart", "midnight", "redis_failover", "redis_split"):
        if rare in rates:
            rates[rare] = min(rates[rare], 0.17)
    return Options(
        seed=seed,
        rage_s=rng.choice((5.0, 8.0, 11.0)),
        gateways=rng.choice((1, 2, 2, 3)),
        risks=rng.choice((1, 2)),
        workers=rng.choice((0, 0, 0, 0, 1, 2)),
        hot=_hot(seed),
        has_guard=rng.random() < 0.8,
        trading_ids=rng.choice(((101,), (101,), (101, 102))),
        lease_ttl_s=rng.choice((0.8, 1.0, 2.0)),
        quarantine_s=rng.choice((1.0, 2.0)),
        drift=rng.choice((0.0, 0.001, 0.02)),
        wall_offset_s=rng.choice((0.0, 0.05, 1.0)),
        min_replicas_lag_s=rng.choice((0.0, 1.0)),
        broker={
            "reject": rng.choice((0.0, 0.05, 0.2)),
            "fill": rng.choice((0.3, 0.7, 1.0)),
            "status_first": rng.choice((0.0, 0.3, 0.9)),
            "lost_status": rng.choice((0.0, 0.2)),
            "duplicate_on_modify": rng.choice((0.0, 0.5)),
            "slow_fill_s": rng.choice((0.5, 3.0, 8.0)),
        },
        orders_per_s=rng.choice((1.5, 3.0, 6.0)),
        rates=dict(sorted({**rates, **_intrusions(seed), **_part_halts(seed)}.items())),
    )


def _hot(seed: int) -> tuple[int, ...]:
    """Draw apart which gateways are hot, so that what else a seed has does not depend on it: none in half of all."""
    rng = random.Random(f"standby:{seed}")
    return tuple(sorted(rng.sample((1, 2, 3), k=rng.choice((0, 0, 0, 1, 2, 3)))))


def _intrusions(seed: int) -> dict[str, float]:
    rng = random.Random(f"intrusions:{seed}")
    kinds = rng.sample(INTRUSIONS, k=rng.choice((0, 0, 0, 0, 1, 2)))
    return {
        kind: rng.choice((0.17, 0.35) if kind in ("other_login", "foreign_identity") else (0.17, 0.7)) for kind in kinds
    }


def _part_halts(seed: int) -> dict[str, float]:
    rng = random.Random(f"part_halts:{seed}")
    return {PART_HALT: rng.choice((0.17, 0.35, 0.7))} if rng.random() < 1 / 3 else {}
