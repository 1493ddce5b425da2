"""Every key and stream name on the bus; nothing else builds one.

Every key starts with `cq:<deployment>:`. A deployment trades one account in one mode; its name defaults to the mode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import ConfigError

_DEPLOYMENT = re.compile(r"[a-z][a-z0-9-]{0,30}")


class Role:
    """Names of the leased roles; a strategy worker's role is `strategy.<worker>`."""

    GATEWAY = "gateway"
    RISK = "risk"
    MARKETDATA = "marketdata"

    @staticmethod
    def strategy(worker: str) -> str:
        """Return the role of one strategy worker."""
        return f"strategy.{worker}"


@dataclass(frozen=True, slots=True)
class Keys:
    """Names for one deployment.

    `tick_partitions` is how many `ticks:<p>` and `bars:<p>` streams there are; a contract lives in
    `con_id % partitions`.
    """

    deployment: str
    tick_partitions: int = 4

    def __post_init__(self) -> None:
        """Refuse names that would break the key scheme.

        Raises:
            ConfigError: the deployment's name is not lower-case letters, digits and dashes.
        """
        if not _DEPLOYMENT.fullmatch(self.deployment):
            raise ConfigError(
                f"deployment name {self.deployment!r} must start with a letter and hold only a-z, 0-9 and "
                "dashes (31 at most)"
            )

    def _key(self, name: str) -> str:
        return f"cq:{self.deployment}:{name}"

    def partition(self, con_id: int) -> int:
        """Return the partition of a contract."""
        return con_id % self.tick_partitions

    def ticks(self, partition: int) -> str:
        """Return a tick stream: gateway leader → all."""
        return self._key(f"ticks:{partition}")

    def bars(self, partition: int) -> str:
        """Return a bar stream: marketdata → all."""
        return self._key(f"bars:{partition}")

    @property
    def intents(self) -> str:
        """Strategy, SDK, CLI, web → risk."""
        return self._key("intents")

    @property
    def cancels(self) -> str:
        """The same → risk."""
        return self._key("cancels")

    @property
    def cancel_commands(self) -> str:
        """Risk → gateway."""
        return self._key("cancel-commands")

    @property
    def decisions(self) -> str:
        """Risk → all."""
        return self._key("decisions")

    @property
    def commands(self) -> str:
        """Risk → gateway."""
        return self._key("commands")

    @property
    def orders(self) -> str:
        """Gateway → all."""
        return self._key("orders")

    @property
    def fills(self) -> str:
        """Gateway → all."""
        return self._key("fills")

    @property
    def account(self) -> str:
        """Gateway → all."""
        return self._key("account")

    @property
    def broker_status(self) -> str:
        """Gateway → all."""
        return self._key("broker-status")

    @property
    def control(self) -> str:
        """Operators, breakers → all."""
        return self._key("control")

    @property
    def alerts(self) -> str:
        """Monitoring → all."""
        return self._key("alerts")

    @property
    def queries(self) -> str:
        """Any → gateway."""
        return self._key("queries")

    @property
    def history_queries(self) -> str:
        """Any → marketdata: historical bars, answered from its cache or by the gateway."""
        return self._key("history-queries")

    def answers(self, client: str) -> str:
        """Gateway and marketdata → one asking client."""
        return self._key(f"answers:{client}")

    @property
    def subscriptions(self) -> str:
        """Marketdata → gateway: the whole wanted set."""
        return self._key("subscriptions")

    @property
    def dead_letter(self) -> str:
        """Any consumer → operators."""
        return self._key("dead-letter")

    @property
    def identity(self) -> str:
        """Hash: mode, account, id of the deployment (P8)."""
        return self._key("identity")

    def lease(self, role: str) -> str:
        """Hash: owner, epoch, incarnation, counter."""
        return self._key(f"lease:{role}")

    def fence(self, role: str) -> str:
        """String: the highest epoch of the role that may publish."""
        return self._key(f"fence:{role}")

    def fence_beside(self, role: str, stream: str) -> str:
        """String: the same for one stream of a Cluster; the braces put it on the stream's own node."""
        return self._key(f"fence:{role}:{{{stream}}}")

    def cursor(self, stream_name: str) -> str:
        """String: the last entry that the one fenced reader of `intents`, `commands` and their like took."""
        return self._key(f"cursor:{stream_name}")

    def readers(self, stream: str) -> str:
        """Hash: registered reader → `<entry id> <wall ns>`; holds trimming back within the retention."""
        return f"{stream}:readers"

    def trimmed(self, stream: str) -> str:
        """String: the last entry deleted from a stream by retention; a cursor behind it has a gap."""
        return f"{stream}:trimmed"

    @property
    def risk_book(self) -> str:
        """String: risk's book with the entries it was read up to, in msgpack; a restart begins with it."""
        return self._key("risk-book")

    @property
    def risk_exits(self) -> str:
        """Hash: `intent:leg` of an exit that risk reduced → its size before and what its entry had filled then."""
        return self._key("risk-exits")

    @property
    def limits(self) -> str:
        """Hash: text of the limits in force, who applied them and why, and the answer to the last change asked for."""
        return self._key("limits")

    def decided(self, intent_id: str) -> str:
        """String: the decision entry of an intent; kept eight days."""
        return self._key(f"decided:{intent_id}")

    def ledger(self, intent_id: str) -> str:
        """Hash: leg → claim result, one final result per intent and leg; kept eight days."""
        return self._key(f"ledger:{intent_id}")

    @property
    def order_ids(self) -> str:
        """Hash: client id → highest order id ever reserved."""
        return self._key("order-ids")

    def fill_index(self, account: str, stem: str) -> str:
        """String: highest published revision of an execution; kept eight days."""
        return self._key(f"fill:{account}:{stem}")

    @property
    def halt(self) -> str:
        """Hash: stage, control_id, who, reason, ts; missing means halted."""
        return self._key("halt")

    @property
    def paused(self) -> str:
        """Hash: strategy → reason."""
        return self._key("paused")

    @property
    def contracts(self) -> str:
        """Hash: conId → body of its ContractInfo."""
        return self._key("contracts")

    @property
    def contract_names(self) -> str:
        """Hash: name as written → conId."""
        return self._key("contract-names")

    def last(self, con_id: int) -> str:
        """Hash of the last prices of a contract, for people and for risk."""
        return self._key(f"last:{con_id}")

    @property
    def positions(self) -> str:
        """Hash: conId → body of the last PositionReport."""
        return self._key("positions")

    @property
    def books(self) -> str:
        """Hash: `snapshot` → whose the positions are, with the entries up to which it counts, as JSON."""
        return self._key("books")

    @property
    def account_values(self) -> str:
        """Hash: `tag` or `tag:currency` → value."""
        return self._key("account-values")

    def is_kept_when_full(self, key: str) -> bool:
        """Return whether a hash is written though the server is out of memory.

        Halts, and what a gateway keeps up to date of orders, positions, money and contracts: it publishes in order, so
        that a snapshot which has to wait would keep back every outcome and every execution that comes after it.
        """
        return key in (
            self.halt, self.paused, self.open_orders, self.positions, self.books, self.account_values, self.contracts,
            self.contract_names,
        )  # fmt: skip

    @property
    def open_orders(self) -> str:
        """Hash: orderRef or permId → body of the last OrderEvent of each order that is not final."""
        return self._key("open-orders")

    def unit(self, unit_id: str) -> str:
        """Hash: commit, state, cursors, timers of a strategy unit."""
        return self._key(f"unit:{unit_id}")

    @property
    def strategies(self) -> str:
        """Hash: unit → JSON of owner, wanted contracts, lag, errors; what `cq strategies` shows."""
        return self._key("strategies")

    @property
    def strategy_workers(self) -> str:
        """Hash: worker → wall ns of its start; whose leases workers watch to share the units."""
        return self._key("strategy-workers")

    @property
    def strategy_directives(self) -> str:
        """Hash: `pin:<unit>` → the worker it shall run on, `reload` → a new value asks to read the file again."""
        return self._key("strategy-directives")

    @property
    def strategy_quarantine(self) -> str:
        """Hash: unit → why it is stopped until resumed; written by the sentinel of a worker that it blocked."""
        return self._key("strategy-quarantine")

    @property
    def strategy_failures(self) -> str:
        """Hash: `unit event` → what a handler was told when it raised and what was saved before, in msgpack."""
        return self._key("strategy-failures")

    @property
    def watches(self) -> str:
        """Hash: conId → wall ns until which somebody outside the strategies wants its prices."""
        return self._key("watches")

    def heartbeat(self, service: str, instance: str) -> str:
        """String with an expiry: JSON of pid, since, ports, state."""
        return self._key(f"heartbeat:{service}:{instance}")

    @property
    def gateways(self) -> str:
        """Hash: gateway → wall ns at which it last said that it stands by; its heartbeat says how it does."""
        return self._key("gateways")

    def heartbeat_pattern(self) -> str:
        """Return the SCAN pattern of all heartbeats."""
        return self._key("heartbeat:*")
