"""The page on limits shows a file that is right, and a rule that works."""

from __future__ import annotations

import re

from services.risk.core.decide import RuleBook, decide
from services.risk.core.limits_file import parse_limits
from services.risk.core.rule import Rule
from tests.risk_desk import NOW, intent_of, limits_with, ready_book
from tests.support import ROOT

PAGE = (ROOT / "docs" / "how-to" / "limits.md").read_text()
FRIDAY = NOW + 3 * 86_400 * 10**9  # NOW is a Tuesday


def test_the_file_can_be_read() -> None:
    text = re.findall(r"```toml\n(profile.*?)```", PAGE, re.DOTALL)[0]
    limits = parse_limits(text)
    assert limits.strategies["mean_reversion"]["protection"] == "refuse" and limits.rules_version == 5


def test_the_rule_can_be_used() -> None:
    names: dict[str, object] = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], names)
    made = names["NoFridays"]
    assert isinstance(made, type) and issubclass(made, Rule)
    rules = RuleBook([made()])
    for now_ns, code in ((NOW, ""), (FRIDAY, "USER_NO_FRIDAYS")):
        intent = intent_of(1, valid_until_ns=now_ns)
        assert decide(intent, ready_book(), limits_with(), now_ns, rules).decision.code == code
