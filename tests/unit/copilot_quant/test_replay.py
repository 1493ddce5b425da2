from __future__ import annotations

from pathlib import Path

import pytest

from copilot_quant.cli.replay import result_row
from copilot_quant.replay import replay
from services.marketdata.shell.recorder import Recorder
from shared.bus.keys import Keys
from shared.bus.ports import Entry
from shared.errors import BadInput, ConfigError
from shared.messages.codec import encode_body
from shared.messages.market import ContractInfo, pack_ticks, quote_tick

IBM = ContractInfo(con_id=8314, name="IBM", symbol="IBM", sec_type="STK", exchange="SMART", currency="USD")
KEYS = Keys("rec", 4)
START_MS = 1_700_000_000_000
CODE = """
from services.strategy.api import Strategy


class Buys(Strategy):
    def on_quote(self, quote):
        self.buy(quote.contract, 1, reason=f"{quote.bid:g}")
"""
TABLE = '[strategy.buys]\nfile = "buys.py"\nclass = "Buys"\ncontracts = ["IBM"]\n'


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Ten quotes, one a second."""
    recorder = Recorder(tmp_path / "rec")
    partition = KEYS.partition(IBM.con_id)
    for number in range(10):
        body = pack_ticks([quote_tick(IBM.con_id, 1, 1, 1, float(number), 1.0, number + 1.0, 1.0)])
        entry = Entry(KEYS.ticks(partition), f"{START_MS + number * 1000}-0", {b"type": b"ticks", b"body": body})
        recorder.note(f"ticks:{partition}", entry)
    recorder.flush()
    recorder.write_session(
        {
            "version": 1, "deployment": "rec", "tick_partitions": 4, "identity": {"id": "abc", "account": "DU1"},
            "contract_names": {"IBM": "8314"}, "contracts": {"8314": encode_body(IBM)}, "units": {},
        }
    )  # fmt: skip
    return tmp_path / "rec"


@pytest.fixture
def strategies(tmp_path: Path) -> Path:
    (tmp_path / "buys.py").write_text(CODE)
    path = tmp_path / "strategies.toml"
    path.write_text(TABLE)
    return path


def test_every_quote_is_given_and_the_times_limit_it(recording: Path, strategies: Path) -> None:
    (result,) = replay(recording, strategies)
    assert [one.reason for one in result.intents] == [str(number) for number in range(10)]
    from_ns, to_ns = (START_MS + 2000) * 10**6, (START_MS + 5000) * 10**6
    (result,) = replay(recording, strategies, from_ns=from_ns, to_ns=to_ns)
    assert [one.reason for one in result.intents] == ["2", "3", "4"] and result.events == 3


def test_a_row_is_plain_and_carries_the_intents_where_asked(recording: Path, strategies: Path) -> None:
    (result,) = replay(recording, strategies)
    row = result_row(result, with_intents=True)
    assert (row["unit"], row["intents"], row["recorded"]) == ("buys/IBM", 10, 0)
    assert isinstance(row["made"], list) and row["made"][0]["reason"] == "0"
    assert "made" not in result_row(result)


def test_what_cannot_be_replayed_is_a_sentence(recording: Path, strategies: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no recording"):
        replay(tmp_path, strategies)
    with pytest.raises(ConfigError, match="cannot be read"):
        replay(recording, tmp_path / "none.toml")
    strategies.write_text(TABLE.replace('"IBM"', '"AAPL"'))
    with pytest.raises(BadInput, match="AAPL was not known"):
        replay(recording, strategies)
    strategies.write_text(TABLE.replace('"Buys"', '"Sells"'))
    with pytest.raises(BadInput, match="'Sells'"):
        replay(recording, strategies)
