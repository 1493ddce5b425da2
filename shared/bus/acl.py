"""Redis users, one per role: what each may write is P1 in the server's own terms.

Only risk may write `commands` and `decisions`; only the gateway `orders`, `fills`, `account` and ticks. Everybody
may read everything of the deployment. Scripts run with their caller's rights, so a role that may not write
`commands` cannot do it through a script either. `admin` loads functions and makes backups; no service uses it.
Monitoring may trim any stream (retention) though it may not append to most of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.bus.keys import Keys
from shared.clock import random_token

ROLES = ("admin", "gateway", "risk", "marketdata", "strategy", "monitoring", "operator")

DEFAULT_USER = "user default off resetpass ~* &* +@all"
"""Off and without a password: nobody can be this user. But Redis loads its append-only file as this user, and checks
each transaction against its rights: with `nocommands` every script's writes would be missing after a restart."""

_READS = (
    "+@read +@connection +@scripting +info +wait +time +cluster|slots"
    " -script|kill -script|flush -function +function|list"
    " -client|kill -client|pause -client|unpause -client|unblock -client|no-evict"
)
"""What every role may do: read, run scripts (with its own rights only), but nothing that disturbs other clients."""
_WRITES = (
    "+xadd +xtrim +xdel +xgroup +xack +xautoclaim +xreadgroup +set +del +hset +hdel +hincrby +hsetnx +expire +pexpire"
    " +incr +unlink"
)
_COMMON_WRITES = ("dead-letter", "heartbeat:*", "*:readers", "*:trimmed")

_TEMPLATE_HEAD = """\
# Redis users of one deployment as `python -m shared.bus.acl --deployment NAME --dir DIR` writes them, with the name and
# the passwords left open, for those who keep secrets elsewhere: replace @DEPLOYMENT@ and @PASSWORD_<ROLE>@, and remove
# these lines (an ACL file takes no comments). Generated: python -m shared.bus.acl --write-template THIS_FILE
"""

_WRITE_KEYS: Mapping[str, tuple[str, ...]] = {
    "gateway": (
        "lease:gateway",
        "fence:gateway",
        "fence:gateway:*",
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
        "books",
        "open-orders",
        "contracts",
        "contract-names",
        "ledger:*",
        "order-ids",
        "control",
        "halt",
        "paused",
        "identity",
        "gateways",
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
        "risk-book",
        "risk-exits",
        "limits",
        "commands",
        "cancel-commands",
        "control",
        "intents",
        "cancels",
        "queries",
    ),
    "marketdata": (
        "lease:marketdata",
        "fence:marketdata",
        "fence:marketdata:*",
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
        "strategy-workers",
        "strategy-quarantine",
        "strategy-failures",
        "queries",
        "history-queries",
        "answers:*",
    ),
    "monitoring": ("control", "alerts", "paused", "halt", "cancels"),
    "operator": (
        "intents",
        "cancels",
        "control",
        "queries",
        "history-queries",
        "answers:*",
        "paused",
        "strategies",
        "strategy-directives",
        "strategy-quarantine",
        "watches",
    ),
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
    lines = [DEFAULT_USER]
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


def write_acl_file(path: Path, keys: Keys) -> dict[str, str]:
    """Write an ACL file with new random passwords (mode 0600) and return them by role.

    Raises:
        FileExistsError: the file is there; new passwords would lock running services out.
    """
    passwords = {role: random_token(32) for role in ROLES}
    path.touch(mode=0o600, exist_ok=False)
    path.write_text("\n".join(acl_lines(keys, passwords)) + "\n")
    return passwords


def template() -> str:
    """Return `deploy/redis/users.acl.tmpl`."""
    lines = acl_lines(Keys("deployment-name"), {role: f"@PASSWORD_{role.upper()}@" for role in ROLES})
    return _TEMPLATE_HEAD + "".join(f"{line.replace('cq:deployment-name:', 'cq:@DEPLOYMENT@:')}\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `users.acl`, and one `<role>.url` file beside it for each service's REDIS_URL."""
    parser = argparse.ArgumentParser(prog="python -m shared.bus.acl", description=main.__doc__)
    parser.add_argument("--deployment", default="paper", help="its name (%(default)s)")
    parser.add_argument("--dir", default=Path(), type=Path, help="where to write; must exist (the current directory)")
    parser.add_argument("--write-template", type=Path, help="write users.acl.tmpl there instead, and nothing else")
    parser.add_argument("--address", default="127.0.0.1:6379", help="host:port the services reach (%(default)s)")
    options = parser.parse_args(arguments)
    if options.write_template is not None:
        options.write_template.write_text(template())
        return
    try:
        passwords = write_acl_file(options.dir / "users.acl", Keys(options.deployment))
    except FileExistsError:
        parser.exit(73, f"{options.dir / 'users.acl'} exists already: remove it to make new passwords\n")
    for role, password in passwords.items():
        url = options.dir / f"{role}.url"
        url.touch(mode=0o600)
        url.write_text(f"redis://{role}:{password}@{options.address}/0\n")


if __name__ == "__main__":
    main()
