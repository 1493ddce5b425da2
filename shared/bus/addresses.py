"""Read the address of a Redis: one server, the master that Sentinels know, or a Cluster.

```
redis://user:password@host:6379/0                                       rediss:// with TLS; unix:///path
redis+sentinel://user:password@host:26379,host:26379/master-name[/db]   the port may be left out
redis+cluster://user:password@host:6379,host:6379                       ticks only (REDIS_TICKS_URL)
```

User and password are the data servers'. Sentinels with a password of their own: `?sentinel_user=…&sentinel_password=…`.
Special characters are percent-encoded. `rediss+sentinel` and `rediss+cluster` use TLS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, quote, unquote

from shared.errors import ConfigError

Node = tuple[str, int]


class Kind(StrEnum):
    """How the servers behind an address are found."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_PORTS = {Kind.SINGLE: 6379, Kind.SENTINEL: 26379, Kind.CLUSTER: 6379}
_SENTINEL_OPTIONS = frozenset({"sentinel_user", "sentinel_password"})
_SYNTAX = (
    "write redis://user:password@host:port/0, redis+sentinel://user:password@host:port,host:port/master-name or, for "
    "ticks, redis+cluster://user:password@host:port,host:port"
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """What a URL says. `nodes` are the Sentinels or the first nodes of a Cluster; a single server's URL stays whole."""

    kind: Kind
    url: str = field(repr=False)
    nodes: tuple[Node, ...] = ()
    master: str = ""
    db: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    is_tls: bool = False

    @property
    def text(self) -> str:
        """Return the address for people, without secrets."""
        nodes = ",".join(f"{host}:{port}" for host, port in self.nodes)
        return f"{nodes}/{self.master}" if self.kind is Kind.SENTINEL else nodes

    def node_url(self, node: Node) -> str:
        """Return the URL of one node of a Cluster, with this address's login."""
        login = f"{quote(self.user or '', safe='')}:{quote(self.password, safe='')}@" if self.password else ""
        host = f"[{node[0]}]" if ":" in node[0] else node[0]
        return f"redis{'s' if self.is_tls else ''}://{login}{host}:{node[1]}/0"


def parse_address(url: str, *, variable: str = "REDIS_URL") -> RedisAddress:
    """Return what a URL says.

    Raises:
        ConfigError: it is no Redis address; the sentence names `variable` and never holds a password.
    """
    try:
        return _parsed(url)
    except ValueError as e:
        raise ConfigError(f"{variable} is not a Redis address ({e}): {_SYNTAX}") from None


def _parsed(url: str) -> RedisAddress:
    scheme, separator, rest = url.partition("://")
    kinds = {f"redis{tls}{suffix}": kind for tls in ("", "s") for suffix, kind in _SUFFIXES.items()}
    kind = Kind.SINGLE if scheme == "unix" else kinds.get(scheme)
    if not separator or kind is None:
        raise ValueError(f"the scheme is {scheme!r}" if separator else "it has no scheme")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    user, has_password, password = login.partition(":")
    nodes = (("localhost", 0),) if scheme == "unix" else tuple(_node(one, kind) for one in hosts.split(","))
    if kind is Kind.SINGLE and len(nodes) > 1:
        raise ValueError("a single server has one host")
    parts = [unquote(part) for part in path.split("/") if part] if scheme != "unix" else []
    master = parts.pop(0) if kind is Kind.SENTINEL and parts else ""
    if kind is Kind.SENTINEL and not master:
        raise ValueError("the name of the master is missing")
    db = int(parts[0]) if parts and parts[0].isdigit() else 0
    if kind is Kind.CLUSTER and db:
        raise ValueError("a Cluster has database 0 only")
    if len(parts) > 1 or (parts and not parts[0].isdigit()):
        raise ValueError("the database is no number")  # and is not shown: it may be a piece of a password with a slash
    options = {name: values[-1] for name, values in parse_qs(query).items()}
    if kind is not Kind.SINGLE and set(options) - _SENTINEL_OPTIONS:
        raise ValueError(f"the options are {', '.join(sorted(_SENTINEL_OPTIONS))}")
    return RedisAddress(
        kind,
        url,
        nodes,
        master,
        db,
        unquote(user) or None,
        unquote(password) if has_password else None,
        options.get("sentinel_user"),
        options.get("sentinel_password"),
        scheme.startswith("rediss"),
    )


_SUFFIXES = {"": Kind.SINGLE, "+sentinel": Kind.SENTINEL, "+cluster": Kind.CLUSTER}


def _node(text: str, kind: Kind) -> Node:
    host, _, port = text.rpartition(":") if text.rpartition(":")[2].isdigit() else (text, "", "")
    host = host.strip().strip("[]")
    if ":" in host and "[" not in text:
        raise ValueError("the port is no number")
    if not host and kind is not Kind.SINGLE:
        raise ValueError("a host is empty")
    number = int(port or _PORTS[kind])
    if not 0 < number < 65_536:
        raise ValueError(f"there is no port {number}")
    return host or "127.0.0.1", number
