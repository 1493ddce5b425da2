from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from copilot_quant.brokers.paper_check import REF_LENGTH, PaperCheck
from shared.errors import Refused
from shared.settings import BrokerSettings, Mode
from tests.support import free_port


async def never(is_connected: object) -> bool:
    raise AssertionError("nothing may ask for a restart here")


def paper(**more: Any) -> PaperCheck:
    settings = BrokerSettings(mode=Mode.PAPER, paper_account="DUB267514", **more)
    return PaperCheck(settings, "AAPL", never)


@pytest.mark.parametrize(
    "settings",
    [BrokerSettings(mode=Mode.LIVE, live_account="U1234567"), BrokerSettings(mode=Mode.SIM)],
    ids=["live", "sim"],
)
def test_only_a_paper_account_is_taken(settings: BrokerSettings) -> None:
    with pytest.raises(Refused, match="paper accounts only"):
        PaperCheck(settings, "AAPL", never)


@pytest.mark.parametrize("accounts", [["U1234567"], ["DU7654321"], ["DUB267514", "U1234567"], []])
def test_a_login_with_anything_else_is_left(accounts: list[str]) -> None:
    ib: Any = SimpleNamespace(managedAccounts=lambda: accounts)
    with pytest.raises(Refused, match="nothing was sent"):
        paper()._check(ib)


def test_references_are_as_long_as_the_systems_and_of_this_run() -> None:
    one, other = paper(), paper()
    assert len(one._ref("rest")) == REF_LENGTH == 32
    assert not other._ref("rest").startswith(one._prefix)


async def test_nothing_is_cleaned_up_where_nothing_was_ordered() -> None:
    assert await paper(paper_port=free_port()).clean_up() == ""
