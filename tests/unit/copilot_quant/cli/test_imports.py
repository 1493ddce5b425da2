from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from shared.clock import SYSTEM_CLOCK
from shared.messages.account import JournalEntry, JournalKind
from shared.messages.control import CashImport, Control, ControlAction, FillImport
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


def cash_report(path: Path, account: str = "DUSIM0001") -> str:
    day = f"{datetime.now(ZoneInfo('America/New_York')):%Y%m%d}"
    rows = "".join(
        f'<CashTransaction accountId="{account}" currency="USD" type="Other Fees" amount="{amount}" dateTime="{day}" '
        f'transactionID="{cash_id}" levelOfDetail="DETAIL"/>'
        for cash_id, amount in (("1", "-10"), ("2", "-3"))
    )
    path.write_text(f"<FlexQueryResponse>{rows}</FlexQueryResponse>")
    return str(path)


def test_cash_that_names_an_entry_of_the_journal_is_asked_for(
    world: World, cq: Cq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copilot_quant.cli.imports._LIMIT_S", 0.4)  # the world's gateway names nothing
    file = cash_report(tmp_path / "cash.xml")
    (row,) = cq("import", "flex", file, "--json").json
    assert (row["contract"], row["in_report"], row["missing"]) == ("cash USD", 2, 0) and "left alone" in row["text"]
    assert not world.heard_of(Control)
    moved = JournalEntry(
        account="DUSIM0001", kind=JournalKind.DEBIT, amount=Decimal(-10), currency="USD",
        ts_init_ns=SYSTEM_CLOCK.wall_ns(),
    )  # fmt: skip
    world.put(lambda bus: bus.append(bus.keys.account, moved, source="gateway:a"))
    done = cq("import", "flex", file)
    assert done.status == 77 and "no leading gateway" in done.out
    (act,) = world.heard_of(Control)
    assert (act.action, act.reason) == (ControlAction.IMPORT_CASH, "cash.xml")
    assert [row.cash_id for row in CashImport.model_validate_json(act.text).rows] == ["1"]


def test_cash_of_another_account_is_refused_whole(world: World, cq: Cq, tmp_path: Path) -> None:
    done = cq("import", "flex", cash_report(tmp_path / "cash.xml", "U7654321"))
    assert done.status == 65 and "this deployment trades DUSIM0001" in done.out + done.err
    assert not world.heard_of(Control)
