from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from shared.messages.control import Control, ControlAction, FillImport
from tests.unit.copilot_quant.cli.conftest import Typed, World, a_position

Cq = Callable[..., Typed]


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(quantity: int, account: str = "DUSIM0001", when: str = "") -> str:
        when = when or f"{datetime.now(ZoneInfo('America/New_York')):%Y%m%d;%H%M%S}"
        side = "BUY" if quantity > 0 else "SELL"
        trade = (
            f'<Trade accountId="{account}" conid="265598" symbol="AAPL" ibExecID="0000.77.01" buySell="{side}" '
            f'quantity="{quantity}" tradePrice="100" dateTime="{when}"/>'
        )
        path = tmp_path / "trades.xml"
        path.write_text(f"<FlexQueryResponse>{trade}</FlexQueryResponse>")
        return str(path)

    return write


def test_what_explains_the_difference_is_asked_for(
    world: World, cq: Cq, file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copilot_quant.cli.imports._LIMIT_S", 0.4)  # the world's gateway publishes nothing
    world.hold(a_position(6, unexplained=Decimal(-4)))
    done = cq("import", "flex", file(-4))
    assert done.status == 77 and "no leading gateway took them" in done.out
    (act,) = world.heard_of(Control)
    assert (act.action, act.scope, act.reason) == (ControlAction.IMPORT_FILLS, "contract:265598", "trades.xml")
    assert [fill.exec_id for fill in FillImport.model_validate_json(act.text).fills] == ["0000.77.01"]


def test_what_the_bus_has_is_left_alone(world: World, cq: Cq, file: Callable[..., str]) -> None:
    world.fill(77, 1)
    (row,) = cq("import", "flex", file(-4), "--json").json
    assert (row["known"], row["missing"]) == (1, 0) and not world.heard_of(Control)


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({}, 77, "the books differ by 0"),
        ({"account": "U7"}, 65, "account U7"),
        ({"when": "20200101;100000"}, 77, "older"),
    ],
)
def test_what_explains_nothing_is_another_accounts_or_too_old_is_refused(
    world: World, cq: Cq, file: Callable[..., str], more: dict[str, str], status: int, said: str
) -> None:
    done = cq("import", "flex", file(-4, **more))
    assert (done.status, said in done.out + done.err) == (status, True) and not world.heard_of(Control)


def test_a_file_that_is_not_there_is_a_sentence(cq: Cq, tmp_path: Path) -> None:
    assert cq("import", "flex", str(tmp_path / "none.xml")).status == 65
