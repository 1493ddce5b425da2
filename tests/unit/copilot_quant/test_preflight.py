from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from copilot_quant.preflight import NEEDS_SYSTEM, Facts, SystemFacts, judge
from shared.preflight import DAY_NS, ITEMS, Entry, Result, missing

NOW = 1_800_000_000_000_000_000
READY = frozenset({"gateway", "risk", "marketdata", "monitoring", "strategy"})
SYSTEM = SystemFacts(ready=READY, limits="profile tiny-live", halted_ns=NOW - 9, resumed_ns=NOW - 5, refusals=3)
ASKED = ("stops", "two_factor", "account_alerts", "code_review", "shutdown_plan")


def facts(**changes: Any) -> Facts:
    answers = {key: Entry(key, "ok", "answered", NOW, "you said yes") for key in ASKED}
    good = Facts(
        mode="live", stage="limited", now_ns=NOW, first_start_ns=NOW - 31 * DAY_NS, api_is_open=False, has_alerts=True,
        can_halt=True, system=SYSTEM, answers=answers,
    )  # fmt: skip
    return replace(good, **changes)


def system(**changes: Any) -> Facts:
    return facts(system=replace(SYSTEM, **changes))


def entry(of: Facts, key: str) -> Entry:
    found = judge(of, "U1234567").entry(key)
    assert found is not None
    return found


def test_everything_in_order_leaves_nothing_missing() -> None:
    result = judge(facts(), "U1234567")
    assert missing(result, mode="live", account="U1234567", now_ns=NOW) == []
    assert [one.key for one in result.entries] == [item.key for item in ITEMS]


@pytest.mark.parametrize(
    "key, of, part",
    [
        ("paper_month", facts(first_start_ns=NOW - 3 * DAY_NS), "3 days"),
        ("errors", system(dead_letters=2), "dead"),
        ("errors", system(unexplained=("AAPL",)), "AAPL"),
        ("errors", system(ready=READY - {"risk"}), "risk"),
        ("errors", system(not_ready=("gateway-2: no broker",)), "gateway-2"),
        ("pacing", system(pacing_errors=(162,)), "162"),
        ("limits", system(limits=""), "no limits"),
        ("stops", system(positions=2, unprotected=("MSFT",)), "MSFT"),
        ("credentials", facts(leaks=(".env can be read",)), ".env"),
        ("api_access", facts(api_is_open=True), "localhost only"),
        ("monitoring", facts(has_alerts=False), "CQ_ALERT_URLS"),
        ("monitoring", system(ready=READY - {"monitoring"}), "monitoring"),
        ("emergency_stop", system(halted_ns=0), "nobody ever"),
        ("emergency_stop", system(resumed_ns=0), "not resumed"),
        ("rules_tested", system(refusals=0), "nothing yet"),
        ("small_sizes", facts(stage="armed"), "limited"),
        ("manual_override", facts(can_halt=False), "guard"),
    ],
)
def test_what_the_program_sees_wrong_is_said(key: str, of: Facts, part: str) -> None:
    found = entry(of, key)
    assert (found.state, found.by) == ("bad", "checked") and part in found.text


@pytest.mark.parametrize(
    "key", ["errors", "pacing", "limits", "emergency_stop", "rules_tested", "manual_override", "monitoring"]
)
def test_without_a_system_it_stays_open(key: str) -> None:
    found = entry(facts(system=None), key)
    assert (found.state, found.text) == ("open", NEEDS_SYSTEM)


@pytest.mark.parametrize("key", ASKED)
def test_what_only_a_person_knows_is_open_until_it_is_answered(key: str) -> None:
    found = entry(facts(answers={}), key)
    assert found.state == "open" and found.text.endswith("?")
    no = Entry(key, "bad", "answered", NOW, "you said no")
    assert entry(facts(answers={key: no}), key) == no


def test_an_api_elsewhere_is_asked_about() -> None:
    assert entry(facts(api_is_open=None), "api_access").state == "open"


def test_positions_that_all_have_stops_need_no_answer() -> None:
    assert entry(replace(system(positions=2), answers={}), "stops").by == "checked"


def test_armed_is_fine_where_no_limit_is_above_tiny_live() -> None:
    assert entry(replace(system(is_tiny=True), stage="armed"), "small_sizes").state == "ok"


@pytest.mark.parametrize("key", ["paper_month", "emergency_stop", "rules_tested"])
def test_a_new_live_deployment_counts_what_paper_has_shown_with_its_date(key: str) -> None:
    paper = Result("paper", "DU1", NOW, (Entry(key, "ok", "checked", NOW - DAY_NS, "seen"),))
    new = replace(system(halted_ns=0, resumed_ns=0, refusals=0), first_start_ns=0, paper=paper)
    found = entry(new, key)
    assert (found.state, found.at_ns, found.text) == ("ok", NOW - DAY_NS, "on paper: seen")
    assert entry(replace(new, mode="paper"), key).state != "ok"
