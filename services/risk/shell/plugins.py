"""Load rules that users add: entry points of the group `copilot_quant.risk_rules`, in a package of their own.

```toml
# pyproject.toml of the user's package
[project.entry-points."copilot_quant.risk_rules"]
no_fridays = "my_rules:NoFridays"        # a subclass of services.risk.core.rule.Rule
```

A user's rule is asked after ours and never about an order that only reduces (P7). One that cannot be loaded, has no
code of its own or wants to hold back reductions refuses the start: to trade without a rule that somebody counts on is
worse.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from services.risk.core.decide import RuleBook
from services.risk.core.rule import Rule
from services.risk.core.rules import RULES
from shared.errors import ConfigError

GROUP = "copilot_quant.risk_rules"
PREFIX = "USER_"


def load_rules(found: Iterable[EntryPoint] | None = None) -> RuleBook:
    """Return our rules and the users'.

    Raises:
        ConfigError: rules that cannot be used, all named at once.
    """
    rules: list[Rule] = list(RULES)
    mistakes: list[str] = []
    for point in sorted(entry_points(group=GROUP) if found is None else found, key=lambda one: one.name):
        try:
            rule = point.load()()
        except Exception as e:  # noqa: BLE001 - a plug-in may raise anything; it is named and refuses the start
            mistakes.append(f"risk rule {point.name} ({point.value}) cannot be loaded: {type(e).__name__}: {e}")
            continue
        complaint = _complaint(rule, [one.code for one in rules])
        if complaint:
            mistakes.append(f"risk rule {point.name} ({point.value}) {complaint}")
        else:
            rules.append(rule)
    if mistakes:
        raise ConfigError(mistakes)
    return RuleBook(rules)


def _complaint(rule: object, codes: list[str]) -> str:
    """Return what is wrong with a user's rule, "" if nothing."""
    if not isinstance(rule, Rule):
        return f"is a {type(rule).__name__}, not a subclass of services.risk.core.rule.Rule"
    code = getattr(rule, "code", "")
    if not code.startswith(PREFIX) or code in codes:
        return f"needs a code of its own that starts with {PREFIX}, not {code!r}"
    if rule.applies_to_reducing:
        return "applies to orders that only reduce, which no rule of a user may (P7)"
    return ""
