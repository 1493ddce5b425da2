from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from copilot_quant.cli import again
from services.strategy.shell.failures import Failure
from shared.messages.codec import encode_body
from tests.unit.copilot_quant.cli.conftest import APPLE, Typed, World

Cq = Callable[..., Typed]
CODE = """
from services.strategy.api import Strategy


class Mine(Strategy):
    def on_start(self) -> None:
        raise RuntimeError("no such luck")
"""


def a_failure(folder: Path, event_id: str = "at-5", at_ns: int = 5) -> Failure:
    (folder / "mine.py").write_text(CODE)
    return Failure(
        unit="mine/AAPL", event_id=event_id, handler="on_start", error="RuntimeError: no such luck",
        where="mine.py:7", at_ns=at_ns, file=str(folder / "mine.py"), class_name="Mine", params={}, bars=[], rules=None,
        needs={}, deployment="sim", partitions=4, deployment_id="d", account="DU1", commit=0, state=b"", timers=b"",
        cursors={}, contracts=[encode_body(APPLE)],
    )  # fmt: skip


def put(world: World, slots: dict[str, bytes]) -> None:
    world.put(lambda bus: bus.hash_set(bus.keys.strategy_failures, slots))


def test_a_failure_on_the_bus_is_run_again_shown_and_saved(cq: Cq, world: World, tmp_path: Path) -> None:
    put(world, {"mine/AAPL 1": a_failure(tmp_path).pack(), "mine/AAPL2 1": b"other's"})
    file = tmp_path / "kept.cqf"
    shown = cq("replay-event", "mine/AAPL", "--save", str(file))
    assert shown.status == 1 and "RuntimeError: no such luck" in shown.out and 'mine.py", line 7' in shown.out
    assert cq("replay-event", "mine/AAPL", "--from", str(file), "--json").json["raised"] == "RuntimeError: no such luck"
    (tmp_path / "mine.py").write_text(CODE.replace('raise RuntimeError("no such luck")', "pass"))
    mended = cq("replay-event", "mine/AAPL", "at-5")
    assert mended.status == 0 and "it does not raise now" in mended.out


def test_a_debugger_gets_the_handler(
    cq: Cq, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    put(world, {"mine/AAPL 1": a_failure(tmp_path).pack()})
    called: list[str] = []

    def run(handler: Callable[..., None], *arguments: object) -> None:
        called.append(handler.__name__)
        handler(*arguments)

    monkeypatch.setattr(again, "_debugger", lambda: run)
    assert cq("replay-event", "mine/AAPL", "--pdb").status == 1 and called == ["on_start"]


def test_what_is_not_there_is_said_with_what_is(cq: Cq, world: World, tmp_path: Path) -> None:
    nothing = cq("replay-event", "mine/AAPL")
    assert nothing.status == 65 and "no failure of 'mine/AAPL' is kept" in nothing.err
    put(world, {"mine/AAPL 1": a_failure(tmp_path).pack()})
    wrong = cq("replay-event", "mine/AAPL", "7-7")
    assert wrong.status == 65 and "no failed event of mine/AAPL: at-5" in wrong.err
    gone = cq("replay-event", "mine/AAPL", "--from", str(tmp_path / "gone"))
    assert gone.status == 65 and "cannot be read" in gone.err
