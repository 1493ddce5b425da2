from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.settings import Mode
from tests.unit.copilot_quant.cli.conftest import ACCOUNTS, Typed, World

Cq = Callable[..., Typed]


@pytest.mark.parametrize("mode", [Mode.LIVE, Mode.SIM])
def test_only_paper(cq: Cq, world: World, mode: Mode) -> None:
    world.mode = mode
    done = cq("paper-check", "--yes")
    assert done.status == 77 and "paper account only" in done.err


def test_the_account_has_to_be_typed(cq: Cq, world: World) -> None:
    world.mode = Mode.PAPER
    done = cq("paper-check", stdin="DU0000000\n")
    assert done.status == 77 and "nothing was sent" in done.err and "ONE share" in done.out
    assert ACCOUNTS[Mode.PAPER] not in done.err


def test_how_the_restart_goes_is_one_of_three(cq: Cq, world: World) -> None:
    world.mode = Mode.PAPER
    assert cq("paper-check", "--yes", "--restart", "maybe").status == 78
