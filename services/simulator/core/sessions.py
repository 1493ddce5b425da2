"""Know who is connected: client ids, their order ids, and who sees whose orders.

Invariants:
1. A client id belongs to at most one session at a time.
2. nextValidId of a client id only grows, across sessions and restarts (a fault may roll it back).
3. An order's events go to its client id and to the master client id; orders entered by hand to client 0 as well.

Source: ib-facts A.1, A.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

IN_USE = "Unable to connect as the client id is already in use. Retry with a unique client id."


@dataclass(slots=True)
class Session:
    """One connection; `client_id` is None until START_API."""

    session: int
    version: int
    opened_ns: int
    peer: str = ""
    client_id: int | None = None
    market_data_type: int = 1
    auto_bind: bool = False
    arrivals: list[int] = field(default_factory=list)
    violations: int = 0


class Sessions:
    """All sessions and the order ids of all client ids."""

    def __init__(self) -> None:
        self.by_session: dict[int, Session] = {}
        self.by_client: dict[int, int] = {}
        self.stuck_clients: dict[int, int] = {}
        """Client ids that stay occupied until a time, although nobody is there."""
        self.next_order_ids: dict[int, int] = {}

    def open(self, session: int, version: int, now_ns: int, peer: str) -> Session:
        """Take a new connection whose handshake is done."""
        entry = Session(session, version, now_ns, peer)
        self.by_session[session] = entry
        return entry

    def start(self, session: Session, client_id: int, now_ns: int) -> bool:
        """Give a session its client id; False if the id is in use."""
        if client_id in self.by_client or self.stuck_clients.get(client_id, 0) > now_ns:
            return False
        self.stuck_clients.pop(client_id, None)
        session.client_id = client_id
        self.by_client[client_id] = session.session
        return True

    def close(self, session: int) -> Session | None:
        """Forget a session."""
        entry = self.by_session.pop(session, None)
        if entry is not None and entry.client_id is not None and self.by_client.get(entry.client_id) == session:
            del self.by_client[entry.client_id]
        return entry

    def started(self) -> list[Session]:
        """Return the sessions that have a client id, oldest first."""
        return [entry for entry in self.by_session.values() if entry.client_id is not None]

    def next_order_id(self, client_id: int) -> int:
        """Return the next valid order id of a client."""
        return self.next_order_ids.get(client_id, 1)

    def use_order_id(self, client_id: int, order_id: int) -> None:
        """Note that an order id was used."""
        self.next_order_ids[client_id] = max(self.next_order_id(client_id), order_id + 1)

    def watchers(self, client_id: int, master: int | None, *, is_manual: bool = False) -> list[int]:
        """Return the sessions that see an order of this client."""
        ids = [client_id] if client_id == master or master is None else [client_id, master]
        if is_manual and 0 not in ids:
            ids.append(0)
        return [self.by_client[each] for each in ids if each in self.by_client]

    def sees_all(self, client_id: int, master: int | None) -> bool:
        """Return whether a client is shown other clients' orders."""
        return master is not None and client_id == master
