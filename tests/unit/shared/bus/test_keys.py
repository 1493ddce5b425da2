from __future__ import annotations

import pytest

from shared.bus.keys import Keys, Role
from shared.errors import ConfigError


def every_name(keys: Keys) -> list[str]:
    plain = [name for name, value in vars(Keys).items() if isinstance(value, property)]
    made = [keys.ticks(0), keys.bars(0), keys.answers("x"), keys.lease("x"), keys.fence("x"), keys.cursor("x")]
    made += [keys.readers("s"), keys.trimmed("s"), keys.decided("x"), keys.ledger("x"), keys.fill_index("a", "s")]
    made += [keys.last(1), keys.unit("u"), keys.heartbeat("s", "i")]
    return [getattr(keys, name) for name in plain] + made


def test_no_two_things_share_a_name_and_no_two_deployments_meet() -> None:
    here, there = every_name(Keys("paper")), every_name(Keys("paper-2"))
    assert len(set(here)) == len(here)
    assert not {name for name in here if name.startswith("cq:")} & set(there)
    assert all(name.startswith(("cq:paper:", "s:")) for name in here)


@pytest.mark.parametrize("name", ["", "Paper", "1st", "a:b", "a" * 32, "a*", "a b"])
def test_names_that_would_break_the_scheme_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="deployment name"):
        Keys(name)


def test_a_contract_stays_in_its_partition() -> None:
    keys = Keys("sim", tick_partitions=4)
    assert {keys.partition(con_id) for con_id in range(100)} == {0, 1, 2, 3}
    assert keys.partition(265598) == keys.partition(265598)
    assert keys.lease(Role.strategy("w1")) == "cq:sim:lease:strategy.w1"
