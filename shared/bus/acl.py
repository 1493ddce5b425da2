"""Redis users, one per role: what each may write is P1 in the server's own terms.

Only risk may write `commands` and `decisions`; only the gateway `orders`, `fills`, `account` and ticks. Everybody
may read everything of the deployment. Scripts run with their caller's rights, so a role that may not write
`commands` cannot do it through a script either. `admin` loads functions and makes backups; no service uses it.
Monitoring may trim any stream (retention) though it may not append to most of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.bus.keys import Keys

ROLES = ("admin", "gateway", "risk", "marketdata", "strategy", "monitoring", "operator")

_READS = (
    "+@read +@connection +@scripting +info +wait"
    " -script|kill -script|flush -function +function|list"
    " -client|kill -client|pause -client|unpause -client|unblock -client|no-evict"
)
"""What every role may do: read, run scripts (with its own rights only), but nothing that disturbs other clients."""
_WRITES = (
    "+xadd +xtrim +xdel +xgroup +xack +xautoclaim +xreadgroup +set +del +hset +hdel +hincrby +hsetnx +expire +pexpire"
    " +incr +unlink"
)
_COMMON_WRITES = ("dead-letter", "heartbeat:*", "*:readers", "*:trimmed")

_WRITE_KEYS: Mapping[str, tuple[str, ...]] = {
    "gateway": (
        "lease:gateway",
        "fence:gateway",
        "cursor:commands",
        "cursor:cancel-commands",
        "ticks:*",
        "orders",
        "fills",
        "fill:*",
        "account",
        "account-values",
        "broker-status",
        "positions",
        "open-orders",
        "contracts",
        "contract-names",
        "ledger:*",
        "order-ids",
        "halt",
        "paused",
        "identity",
        "answers:*",
        "queries",
    ),
    "risk": (
        "lease:risk",
        "fence:risk",
        "cursor:intents",
        "cursor:cancels",
        "decisions",
        "decided:*",
        "commands",
        "cancel-commands",
        "control",
    ),
    "marketdata": (
        "lease:marketdata",
        "fence:marketdata",
        "bars:*",
        "last:*",
        "subscriptions",
        "queries",
        "answers:*",
    ),
    "strategy": (
        "lease:strategy.*",
        "fence:strategy.*",
        "unit:*",
        "intents",
        "cancels",
        "strategies",
        "queries",
        "answers:*",
    ),
    "monitoring": ("control", "alerts", "paused", "halt", "cancels"),
    "operator": ("intents", "cancels", "control", "queries", "answers:*", "paused", "strategies"),
}


def acl_lines(keys: Keys, passwords: Mapping[str, str]) -> list[str]:
    """Return the lines of an ACL file for one deployment.

    Args:
        keys: names of the deployment.
        passwords: one per role of `ROLES`.

    Raises:
        KeyError: a role has no password.
    """
    prefix = f"cq:{keys.deployment}:"
    lines = ["user default off nopass nocommands"]
    for role in ROLES:
        if role == "admin":
            lines.append(f"user admin on >{passwords[role]} ~* &* +@all")
            continue
        writable = " ".join(f"~{prefix}{name}" for name in (*_WRITE_KEYS[role], *_COMMON_WRITES))
        rights = f"%R~{prefix}* {writable} resetchannels -@all {_READS} {_WRITES}"
        if role == "monitoring":
            # Retention: a selector lets it shorten streams that it must not write.
            rights += f" (+xtrim ~{prefix}*)"
        lines.append(f"user {role} on >{passwords[role]} {rights}")
    return lines
