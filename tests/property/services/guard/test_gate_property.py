"""After admitting epoch n, no byte of a lower epoch goes upstream; and only claimed sessions ever send orders."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.guard.core import gate as g
from services.guard.core.latch import Halt, halted, resumed
from services.guard.core.requests_policy import READ_REQUESTS
from shared.tws import requests as q
from shared.tws.contract import TwsContract
from shared.tws.hello import TradingClaim
from shared.tws.order import TwsOrder

ORDER = q.encode_request(q.PlaceOrder(7, TwsContract(symbol="A"), TwsOrder("BUY", Decimal(1), "MKT")), 176)
CANCEL = q.encode_request(q.CancelOrder(7), 176)
READ = q.encode_request(q.ReqPositions(), 176)


class Guarded(RuleBasedStateMachine):
    """A guard, its disk, and the broker behind it, which notes what arrives from whom."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = g.Gate(frozenset({101, 102}), None, Halt(is_holding=False))
        self.disk: TradingClaim | None = None
        self.is_disk_full = False
        self.next = 1
        self.claims: dict[int, TradingClaim | None] = {}
        self.cut: set[int] = set()
        self.opened: set[int] = set()
        self.highest_opened = 0

    def carry_out(self, effects: list[g.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, g.Remember):
                if self.is_disk_full:
                    return  # the shell raises here: the rest of the batch does not happen
                self.disk = self.gate.stored = effect.claim
            elif isinstance(effect, g.Cut | g.Close):
                self.cut.add(effect.session)
            elif isinstance(effect, g.Open):
                claim = self.claims[effect.session]
                assert b"cq." not in effect.first_bytes
                if claim is not None:
                    assert self.disk == claim, "opened before its epoch was on disk"
                    assert claim.epoch >= self.highest_opened
                    self.highest_opened = claim.epoch
                    lower = [n for n in self.opened if (c := self.claims[n]) and c != claim]
                    assert all(n in self.cut for n in lower), "opened before the lower sessions were cut"
                self.opened.add(effect.session)
            elif isinstance(effect, g.Forward):
                claim = self.claims[effect.session]
                assert effect.session in self.opened
                assert effect.session not in self.cut
                message_id = int(effect.payload.partition(b"\0")[0])
                if claim is None:
                    assert message_id in READ_REQUESTS | {71}
                else:
                    assert claim.epoch == self.highest_opened, "a lower epoch reached the broker"
                if message_id == 3:
                    assert not self.gate.halt.is_holding, "an order passed a halt"

    @rule(
        epoch=st.integers(1, 6),
        owner=st.sampled_from("ab"),
        incarnation=st.sampled_from("xy"),
        client_id=st.sampled_from([101, 102, 7]),
        goes_on=st.booleans(),
    )
    def claimed_session(self, epoch, owner, incarnation, client_id, goes_on):
        self.session(TradingClaim(epoch, owner, incarnation), client_id, goes_on)

    @rule(client_id=st.sampled_from([0, 7, 101]), goes_on=st.booleans())
    def plain_session(self, client_id, goes_on):
        self.session(None, client_id, goes_on)

    def session(self, claim: TradingClaim | None, client_id: int, goes_on: bool) -> None:
        number, self.next = self.next, self.next + 1
        self.claims[number] = claim
        self.carry_out(self.gate.hello(number, f"v157..176 {claim.as_option() if claim else ''}".rstrip().encode()))
        if number in self.opened and goes_on:
            self.carry_out(self.gate.server_version(number, b"176\x00t\0"))
            self.carry_out(self.gate.client_frame(number, q.encode_request(q.StartApi(client_id), 176)))
        elif number not in self.opened:
            self.gate.closed(number)

    @rule(pick=st.integers(1, 60), payload=st.sampled_from([ORDER, CANCEL, READ, b"9999\0", b"junk"]))
    def some_frame(self, pick, payload):
        """Any session that ever was sends something, cut or not."""
        self.carry_out(self.gate.client_frame(pick % self.next, payload))

    @precondition(lambda self: self.opened)
    @rule(pick=st.integers(0, 60))
    def socket_lost(self, pick):
        number = sorted(self.opened)[pick % len(self.opened)]
        self.gate.closed(number)
        self.cut.add(number)

    @rule(full=st.booleans())
    def disk_fills(self, full):
        self.is_disk_full = full

    @rule(holds=st.booleans())
    def operator(self, holds):
        change = halted if holds else resumed
        self.gate.halt = change(self.gate.halt, reason="r", who="w", at_ns=1)

    @rule()
    def restart(self):
        """The guard dies with all its sockets and comes back with its disk."""
        self.cut |= set(self.claims)
        self.gate = g.Gate(self.gate.trading_client_ids, self.disk, self.gate.halt, stored=self.disk)

    @invariant()
    def one_claim_at_a_time(self):
        assert len({claim for claim in self.gate.sessions.values() if claim}) <= 1


TestGuarded = Guarded.TestCase
