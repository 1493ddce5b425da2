from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.monitoring.shell.audit_store import AuditStore, segments
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages.base import Message
from shared.messages.orders import Decision, OrderState
from tests.risk_desk import NOW, intent_of, number_id
from tests.unit.copilot_quant.cli.conftest import Typed, World, an_order

Cq = Callable[..., Typed]
ORDER = number_id(7)


@dataclass
class Lived:
    """A deployment whose bus has one order, and whose audit was read to its end."""

    world: World
    place: Path
    bus: MemoryBus

    def write(self, *said: tuple[str, Message], is_audited: bool = True) -> None:
        asyncio.run(self._write(said, is_audited=is_audited))

    async def _write(self, said: Sequence[tuple[str, Message]], *, is_audited: bool) -> None:
        entries = []
        for stream, message in said:
            entry_id = await self.bus.append(stream, message, source="test:1")
            entries += await self.bus.read_range(stream, first=entry_id, last=entry_id)

        async def seed(other: MemoryBus) -> None:
            for entry in entries:
                other._here().streams.setdefault(entry.stream, []).append(entry)

        self.world.put(seed)
        if is_audited:
            store = AuditStore(self.place)
            store.append(entries, {})
            store.close()


@pytest.fixture
def lived(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lived:
    monkeypatch.setenv("CQ_AUDIT_DIR", str(tmp_path / "audit"))
    made = Lived(world, tmp_path / "audit" / "sim", MemoryBus(MemoryServer(), world.keys))
    intent = intent_of(7, contract="AAPL", cause_ts_ns=NOW - 10_000_000)
    event = an_order(intent_id=ORDER, state=OrderState.WORKING, ts_init_ns=NOW + 5_000_000)
    made.write(
        (world.keys.intents, intent),
        (world.keys.decisions, Decision(intent_id=ORDER, approved=True, ts_init_ns=NOW + 2_000_000)),
        (world.keys.orders, event),
    )
    return made


def test_verify_says_how_many_and_the_head_and_knows_an_older_head(lived: Lived, cq: Cq) -> None:
    found = cq("audit", "verify", "--json").json
    assert found["records"] == 3 and found["head"].startswith("3:") and len(found["head"]) == 66
    assert cq("audit", "verify", "--head", found["head"]).status == 0
    other = cq("audit", "verify", "--head", "9:00")
    assert other.status == 65 and "were cut off" in other.err


def test_verify_compares_with_the_bus_and_misses_what_was_left_out(lived: Lived, cq: Cq) -> None:
    assert cq("audit", "verify", "--streams", "--json").json["compared_entries"] == 3

    lived.write((lived.world.keys.intents, intent_of(8)), is_audited=False)
    lived.write((lived.world.keys.intents, intent_of(9)))
    done = cq("audit", "verify", "--streams")
    assert done.status == 65 and "is not in the audit" in done.err


def test_verify_names_the_record_that_was_changed(lived: Lived, cq: Cq) -> None:
    with sqlite3.connect(segments(lived.place)[0]) as forger:
        forger.execute("DROP TRIGGER record_is_kept")
        forger.execute("UPDATE record SET packed = x'90' WHERE number = 2")
    done = cq("audit", "verify")
    assert done.status == 65 and "record 2" in done.err


def test_export_writes_lines_with_decoded_messages(lived: Lived, cq: Cq, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    assert cq("audit", "export", str(file), "--json").json == {"records": 3, "file": str(file)}
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["type"] for row in rows] == ["intent", "decision", "order_event"]
    assert rows[0]["message"]["contract"] == "AAPL" and len(rows[0]["hash"]) == 64
    assert cq("audit", "export", str(file), "--until", "2001-01-01", "--json").json["records"] == 0
    assert cq("audit", "export", str(file), "--since", "tomorrow").status == 65


def test_export_as_parquet_reads_back(lived: Lived, cq: Cq, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "all.parquet"
    assert cq("audit", "export", str(file)).status == 0
    assert parquet.read_table(file).column("type").to_pylist() == ["intent", "decision", "order_event"]


def test_explain_tells_the_story_from_the_audit_and_without_one_from_the_bus(
    lived: Lived, cq: Cq, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_audit = cq("explain", ORDER, "--json").json
    monkeypatch.delenv("CQ_AUDIT_DIR")
    assert cq("explain", ORDER, "--json").json == from_audit
    assert [step["what"] for step in from_audit["steps"]] == ["cause", "intent", "approved", "working"]
    assert [step["since_previous_ms"] for step in from_audit["steps"]] == [0.0, 10.0, 2.0, 3.0]
    shown = cq("explain", ORDER).out
    assert "AAPL BUY 10 LMT limit 100 for s" in shown and "15.0 ms in all" in shown


def test_explain_of_what_is_nowhere_and_verify_without_an_audit_say_so(
    world: World, cq: Cq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CQ_AUDIT_DIR", raising=False)
    assert "nothing is known" in cq("explain", "x" * 20).err
    done = cq("audit", "verify")
    assert done.status == 65 and "CQ_AUDIT_DIR" in done.err
