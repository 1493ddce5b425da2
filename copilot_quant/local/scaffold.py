"""Write a new desk's files, and a new strategy's: what `cq init` and `cq new strategy` leave is meant to be edited.

Invariant: nothing that is there already is written over.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

from services.risk.core.limits import RULES_VERSION
from services.risk.core.limits_file import as_text
from services.risk.core.profiles import PROFILES
from shared.contracts import parse_contract
from shared.errors import BadInput, ConfigError
from shared.ids import MANUAL, UNASSIGNED

STRATEGIES = Path("strategies") / "strategies.toml"
LIMITS = Path("strategies") / "limits.toml"
PROJECT = Path(__file__).resolve().parents[2]
SHOWN_LIMITS = (
    "order_quantity_max",
    "order_notional_max",
    "position_quantity_max",
    "position_notional_max",
    "exposure_gross_max",
    "turnover_day_max",
    "daily_loss_max",
    "strategy_loss_max",
)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")

_STRATEGIES_TOML = """\
# The strategies that the workers run, one table each; `cq new strategy NAME` adds one.
# Keys: file, class, contracts, bars, per, session, last_entry, flat_by, enabled, isolated, params.
# While `cq run` is at the simulator, saving this file or a strategy reloads it.
"""

_ENV = """\
# Settings of this desk; every setting with its default: `cq doctor` says what is wrong here.
# `cq run --sim` needs none of them. `cq run --paper` and `cq up` take the broker from here.
CQ_MODE=paper
IB_PAPER_HOST=127.0.0.1
IB_PAPER_PORT=7497              # TWS: 7497, IB Gateway: 4002
IB_PAPER_CLIENT_ID=1
# IB_PAPER_ACCOUNT=DU1234567    # your paper account; without it nothing starts on paper
CQ_LOG_LEVEL=info
"""

_README = """\
# {title}

```
cq new strategy dip          # strategies/dip.py, tests/test_dip.py, a table in strategies/strategies.toml
python -m pytest             # its test; needs no service
cq run                       # every strategy at the simulator, Redis inside; edit a file and it is reloaded
cq run strategies/dip.py     # only that one
cq run --paper               # with the TWS or IB Gateway that .env names
```

| file | what it is |
|---|---|
| `strategies/` | your strategies and `strategies.toml`, which says what each trades |
| `strategies/limits.toml` | what risk allows: profile {profile} and your differences (`cq limits check FILE`) |
| `.env` | your account and settings; it may hold secrets, so it is not for a repository |
{compose}
In a second terminal, while it runs: `cq status`, `cq strategies`, `cq tail decisions -f`, `cq halt`.
"""

_COMPOSE_ROW = (
    "| `docker-compose.yml` | the same system in containers: at the simulator with "
    "`CQ_MODE=sim docker compose up -d --wait`, on paper as its first lines say |\n"
)

_STRATEGY = '''\
"""{title}: hold some shares after falling bars, nothing after a rising one. A beginning; make it yours."""

from __future__ import annotations

from pydantic import BaseModel, Field

from services.strategy.api import Bar, Strategy


class {cls}(Strategy):
    """Buy after `falling` bars that closed below their opening, sell after one that closed above."""

    class Params(BaseModel):
        """What the TOML file may set."""

        quantity: int = Field(default=5, ge=1)
        falling: int = Field(default=2, ge=1)

    class State(BaseModel):
        """What is saved with each commit, and there again after a crash or a move."""

        falling: int = 0

    params: Params
    state: State

    def on_bar(self, bar: Bar) -> None:
        """Count falling bars."""
        self.state.falling = self.state.falling + 1 if bar.close < bar.open else 0
        if self.state.falling >= self.params.falling:
            self.target_position(bar.contract, self.params.quantity, reason=f"{{self.state.falling}} falling bars")
        elif bar.close > bar.open:
            self.target_position(bar.contract, 0, reason="a rising bar")
'''

_TEST = '''\
"""{title}, fed by hand: no service and no broker is needed."""

from __future__ import annotations

from copilot_quant.testing import StrategyTest, stock
from strategies.{module} import {cls}


def test_falling_bars_are_bought_and_a_rising_one_sells() -> None:
    test = StrategyTest({cls}, [stock("AAPL")], quantity=5, falling=2)
    test.bar("AAPL", close=9.5, open=10.0)
    assert test.orders == []
    test.bar("AAPL", close=9.0, open=9.5)
    (bought,) = test.orders
    assert (bought.legs[0].side, bought.legs[0].quantity) == ("BUY", 5)
    test.fill(bought, price=9.0)
    test.bar("AAPL", close=9.2, open=9.0)
    assert (test.orders[-1].legs[0].side, test.orders[-1].legs[0].quantity) == ("SELL", 5)


def test_nothing_is_bought_twice_and_a_move_to_another_worker_changes_nothing() -> None:
    test = StrategyTest({cls}, [stock("AAPL")], quantity=5, falling=2)
    for close in (9.5, 9.0, 8.5):
        test.bar("AAPL", close=close, open=close + 0.5)
    assert len(test.orders) == 1
    test.move()
    test.bar("AAPL", close=8.0, open=8.5)
    assert len(test.orders) == 1
'''

_TABLE = """
[strategy.{name}]
file = "{module}.py"
class = "{cls}"
contracts = [{contracts}]
bars = ["1s"]                # 1s, 5s, 1m, 1d; one-second bars show something at the simulator at once
params = {{ quantity = 5, falling = 2 }}
"""


def make_desk(directory: Path, *, profile: str = "small-paper") -> list[Path]:
    """Write a desk and return its files.

    Raises:
        BadInput: the directory holds something already, or the profile is unknown.
    """
    if profile not in PROFILES:
        raise BadInput(f"there is no profile {profile!r}: {', '.join(PROFILES)}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BadInput(f"{directory} is there already and not empty: nothing was written; choose another name")
    compose = compose_text(PROJECT)
    readme = _README.format(title=directory.resolve().name, profile=profile, compose=_COMPOSE_ROW if compose else "")
    content = {
        STRATEGIES: _STRATEGIES_TOML,
        LIMITS: limits_text(profile),
        Path(".env"): _ENV,
        Path("README.md"): readme,
        Path(".gitignore"): ".env\n.cq/\nsecrets/\n__pycache__/\n",
        Path("conftest.py"): '"""Lets the tests import `strategies`."""\n',
        **({Path("docker-compose.yml"): compose} if compose else {}),
    }
    written = []
    for name, text in content.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600 if name.name == ".env" else 0o644)
        path.write_text(text)
        written.append(path)
    return written


def limits_text(profile: str) -> str:
    """Return a limits file of a profile, with the limits that people change first written out as comments."""
    limits = PROFILES[profile]
    known = {one.name for one in fields(limits)}
    shown = [f"# {name} = {as_text(getattr(limits, name))}" for name in SHOWN_LIMITS if name in known]
    head = "# What risk allows. The profile sets every limit; remove a # and change a number to differ from it."
    return "\n".join([head, f'profile = "{profile}"', f"rules = {RULES_VERSION}", "", "[limits]", *shown, ""])


def compose_text(project: Path) -> str:
    """Return the project's compose file for a desk elsewhere, empty where the project was installed without it."""
    source = project / "docker-compose.yml"
    if not source.is_file():
        return ""
    text = source.read_text(encoding="utf-8")
    text = text.replace("build: { context: . }", f'build: {{ context: "{project}" }}')
    ours = "CQ_INSTANCE: risk, "
    return text.replace(ours, ours + "RISK_LIMITS_FILE: /strategies/limits.toml, ")


def add_strategy(directory: Path, name: str, contracts: list[str]) -> list[Path]:
    """Write a new strategy and its test, and register it; return the three files.

    Raises:
        BadInput: a name that cannot be one, or files or a table of it are there already.
        ConfigError: the directory is no desk, or its strategies file is no TOML.
    """
    table_file = directory / STRATEGIES
    if not table_file.is_file():
        raise ConfigError(
            f"there is no {STRATEGIES} in {directory.resolve()}: `cq init NAME` makes a desk; then cd to it"
        )
    if not _NAME.fullmatch(name) or name in (UNASSIGNED, MANUAL):
        raise BadInput(
            f"{name!r} is no strategy's name: lower-case letters, digits, _ and -, and not {MANUAL} or {UNASSIGNED}"
        )
    names = [str(parse_contract(contract)) for contract in contracts]
    if not names:
        raise BadInput("a strategy trades at least one contract: --symbols AAPL,IBM")
    text = table_file.read_text(encoding="utf-8")
    try:
        tables = tomllib.loads(text).get("strategy", {})
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{table_file} is not TOML: {e}") from e
    module = name.replace("-", "_")
    words = {
        "name": name,
        "module": module,
        "title": name.replace("_", " ").replace("-", " ").capitalize(),
        "cls": "".join(word.capitalize() for word in re.split(r"[_-]", name) if word),
        "contracts": ", ".join(f'"{one}"' for one in names),
    }
    code, test = directory / "strategies" / f"{module}.py", directory / "tests" / f"test_{module}.py"
    there = [str(path) for path in (code, test) if path.exists()]
    if name in tables or there:
        raise BadInput(f"{name} is there already ({', '.join(there) or table_file}): nothing was written")
    test.parent.mkdir(exist_ok=True)
    code.write_text(_STRATEGY.format(**words))
    test.write_text(_TEST.format(**words))
    table_file.write_text(text.rstrip("\n") + "\n" + _TABLE.format(**words))
    return [code, test, table_file]
