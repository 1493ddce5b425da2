"""Say whether the order-flow Redis is set up so that what it acknowledged is still there afterwards.

Reads INFO only, which every role may: CONFIG is the administrator's.
"""

from __future__ import annotations

from collections.abc import Mapping

from copilot_quant.findings import Finding
from shared.bus.addresses import Kind

OLDEST_MAJOR = 7


def redis_findings(facts: Mapping[str, str], kind: Kind) -> list[Finding]:
    """Return what the server's INFO says of its version, memory policy, files and replicas."""
    version = facts.get("valkey_version") or facts.get("redis_version", "")
    name = "Valkey" if facts.get("valkey_version") else "Redis"
    findings = [Finding("Redis", "ok", f"{name} {version} answers")]
    if int(version.split(".")[0] or 0) < OLDEST_MAJOR:
        findings[0] = Finding("Redis", "bad", f"{name} {version} is too old", "use Redis 7 or newer, or Valkey 7.2")
    policy = facts.get("maxmemory_policy", "")
    if policy != "noeviction":
        text = f"maxmemory-policy is {policy or 'not known'}: entries of the order flow can be evicted"
        findings.append(Finding("Redis memory", "bad", text, "set `maxmemory-policy noeviction`"))
    if facts.get("aof_enabled") != "1":
        text = "no append-only file: a restart loses what came after the last snapshot"
        findings.append(Finding("Redis files", "warn", text, "set `appendonly yes`"))
    elif facts.get("aof_last_write_status", "ok") != "ok":
        findings.append(Finding("Redis files", "bad", "the append-only file cannot be written", "look at its disk"))
    return [*findings, *_replica_findings(facts, kind)]


def _replica_findings(facts: Mapping[str, str], kind: Kind) -> list[Finding]:
    replicas = int(facts.get("connected_slaves", "0"))
    good = facts.get("min_slaves_good_slaves")  # there only if both min-replicas settings are on
    if not replicas and kind is Kind.SINGLE and good is None:
        return []
    if good is None:
        text = f"{replicas} replica(s), but `min-replicas-to-write` is off: after a split both sides take writes"
        cure = "set `min-replicas-to-write 1` and `min-replicas-max-lag 2` on every server"
        return [Finding("Redis replicas", "bad", text, cure)]
    if good == "0":
        text = "no replica keeps up: the server refuses every write"
        return [Finding("Redis replicas", "bad", text, "start the replica, or mend the network between them")]
    return [Finding("Redis replicas", "ok", f"{good} of {replicas} keep(s) up; without one nothing is written")]
