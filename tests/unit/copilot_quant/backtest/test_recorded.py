from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from copilot_quant.backtest.data import MarketData
from copilot_quant.backtest.recorded import read_recorded
from copilot_quant.backtest.runner import run_backtest
from copilot_quant.backtest.strategies import declared_of
from copilot_quant.backtest.units import make_unit
from copilot_quant.backtest.warmup import load_history
from services.marketdata.shell.recorder import Recorder
from services.strategy.api import Bar as SeenBar
from services.strategy.api import Quote, Strategy
from services.strategy.core.saved import Limits
from shared.bus.keys import Keys
from shared.bus.ports import Entry
from shared.errors import BadInput
from shared.messages.codec import encode_body, encode_fields
from shared.messages.market import FLAG_LATE, FLAG_SNAPSHOT, Bar, ContractInfo, pack_ticks, quote_tick, trade_tick

IBM = ContractInfo(con_id=8314, name="IBM", symbol="IBM", sec_type="STK", exchange="SMART", currency="USD")
KEYS = Keys("rec", 4)
START_MS = 1_700_000_000_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Ten quotes, one a second, each known 3 ms after its own time; a late trade, a snapshot; one bar."""
    recorder = Recorder(tmp_path / "rec")
    partition = KEYS.partition(IBM.con_id)
    for number in range(10):
        at_ns = (START_MS + number * 1000) * 1_000_000
        ticks = [quote_tick(IBM.con_id, at_ns - 3_000_000, at_ns, 1, 10.0 + number / 100, 100.0, math.nan, 0.0)]
        ticks.append(trade_tick(IBM.con_id, at_ns, at_ns, 1, 99.0, 1.0, FLAG_LATE if number % 2 else FLAG_SNAPSHOT))
        ticks.append(quote_tick(IBM.con_id, at_ns, at_ns, 1, 10.0 + number / 100, 100.0, 10.02 + number / 100, 100.0))
        entry = Entry(
            KEYS.ticks(partition), f"{START_MS + number * 1000}-0", {b"type": b"ticks", b"body": pack_ticks(ticks)}
        )
        recorder.note(f"ticks:{partition}", entry)
    bar = Bar(
        con_id=IBM.con_id, interval="1s", ts_open_ns=START_MS * 10**6, ts_close_ns=(START_MS + 1000) * 10**6,
        open=Decimal(10), high=Decimal(11), low=Decimal(9), close=Decimal(10),
    )  # fmt: skip
    fields = {name.encode(): value for name, value in encode_fields(bar, source="marketdata").items()}
    recorder.note(f"bars:{partition}", Entry(KEYS.bars(partition), f"{START_MS + 1250}-0", fields))
    recorder.flush()
    recorder.write_session(
        {
            "version": 1, "deployment": "rec", "tick_partitions": 4, "identity": {"id": "abc", "account": "DU1"},
            "contract_names": {"IBM": "8314"}, "contracts": {"8314": encode_body(IBM)}, "units": {},
        }
    )  # fmt: skip
    return tmp_path / "rec"


def test_quotes_keep_both_times_and_what_no_strategy_was_told_is_left_out(recording: Path) -> None:
    found = read_recorded(recording, ["IBM"]).ticks["IBM"]
    assert len(found) == 20 and found.is_quote.all()
    assert int(found.at_ns[0] - found.ts_ns[0]) == 3_000_000 and math.isnan(found.c[0])
    with pytest.raises(BadInput, match="AAPL was not known"):
        read_recorded(recording, ["AAPL"])


class Both(Strategy):
    """Orders at a bar and at the last quote."""

    def on_bar(self, bar: SeenBar) -> None:
        self.buy(bar.contract, 1, reason=f"bar {bar.close:g} at {self.now_ns // 10**6 - START_MS}")

    def on_quote(self, quote: Quote) -> None:
        if quote.ask > 10.1:
            self.target_position(quote.contract, 5, reason=f"ask {quote.ask:g}")


def test_a_recording_is_played_with_its_own_bars_when_they_came(recording: Path) -> None:
    result = run_backtest(Both, symbols=["IBM"], data=recording, bars=["1s"])
    assert not result.errors, result.errors
    assert [one.reason for one in result.intents] == ["bar 10 at 1250", "ask 10.11"]
    assert result.trades[0].ts_ns == (START_MS + 1260) * 10**6 and result.trades[0].contract == "IBM"


class LooksBack(Strategy):
    """Needs bars that nobody recorded."""

    @classmethod
    def history_needs(cls, params: Any) -> dict[str, int]:
        return {"1 min": 5}


def test_history_that_was_not_recorded_is_a_sentence(recording: Path) -> None:
    data = MarketData.load(recording, ["IBM"])
    (declared,) = declared_of(LooksBack, ["IBM"])
    running = make_unit(declared, {"IBM": IBM}, deployment_id="d", account="a", limits=Limits())
    with pytest.raises(BadInput, match="looks back on '1 min' bars of IBM: none were recorded"):
        load_history(running, data, {"IBM": IBM})
