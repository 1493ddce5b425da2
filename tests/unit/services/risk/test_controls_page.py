"""The comparison with regulators' lists names rules that exist, and leaves out none that answers an outside source."""

from __future__ import annotations

import re

from services.risk.core.rules import RULES
from tests.support import ROOT

PAGE = (ROOT / "docs" / "explanation" / "risk-controls.md").read_text()
NAMED = set(re.findall(r"`(RISK_[A-Z_]+)`", PAGE))


def test_every_rule_named_exists() -> None:
    assert {rule.code for rule in RULES} >= NAMED


def test_every_rule_with_a_regulators_citation_is_named() -> None:
    sources = ("SEC ", "RTS 6", "CME ", "FIA: ")
    cited = {rule.code for rule in RULES if rule.citation.startswith(sources)}
    assert cited <= NAMED, cited - NAMED


def test_every_source_can_be_looked_up() -> None:
    """A reader of the table has the web and this repository, nothing else."""
    for rule in RULES:
        assert "ib-facts" not in rule.citation and "§" not in rule.citation, rule.code
        for page in re.findall(r"docs/[a-z/]+\.md", rule.citation):
            assert (ROOT / page).is_file(), page
