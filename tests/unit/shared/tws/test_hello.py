from __future__ import annotations

import pytest

from shared.errors import DecodeError
from shared.tws.hello import TradingClaim, split_claim

CLAIM = TradingClaim(17, "gateway-1", "0f3c:9a")


def test_a_claim_is_taken_out_of_the_options():
    assert split_claim(f"+PACEAPI {CLAIM.as_option()}") == (CLAIM, "+PACEAPI")
    assert split_claim("+PACEAPI") == (None, "+PACEAPI")
    assert split_claim("") == (None, "")


@pytest.mark.parametrize(
    "options",
    [
        "cq.epoch=17",
        "cq.epoch=0,cq.owner=a,cq.incarnation=b",
        "cq.epoch=017,cq.owner=a,cq.incarnation=b",
        "cq.epoch=-1,cq.owner=a,cq.incarnation=b",
        "cq.epoch=9999999999999999999,cq.owner=a,cq.incarnation=b",
        "cq.epoch=1,cq.owner=,cq.incarnation=b",
        "cq.epoch=1,cq.owner=a,cq.incarnation=b,cq.more=c",
        "cq.owner=a,cq.epoch=1,cq.incarnation=b",
        "CQ.epoch=1,cq.owner=a,cq.incarnation=b",
        "cq.epoch=1,cq.owner=a,cq.incarnation=b cq.epoch=2,cq.owner=a,cq.incarnation=b",
        "cq.",
    ],
)
def test_a_malformed_claim_is_refused_and_never_read_as_none(options):
    with pytest.raises(DecodeError, match="claim"):
        split_claim(options)


@pytest.mark.parametrize(
    "epoch, owner, incarnation", [(0, "a", "b"), (2**63, "a", "b"), (1, "", "b"), (1, "a b", "b"), (1, "a", "b,c")]
)
def test_a_claim_that_could_not_be_read_back_is_not_made(epoch, owner, incarnation):
    with pytest.raises(ValueError):
        TradingClaim(epoch, owner, incarnation)
