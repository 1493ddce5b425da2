from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.preflight import read_result, result_file
from tests.unit.copilot_quant.cli.conftest import Typed

Cq = Callable[..., Typed]


def test_it_lists_what_is_missing_and_ends_with_69(cq: Cq, tmp_path: Path) -> None:
    done = cq("preflight", "--json")
    assert done.status == 69 and len(done.json["items"]) == 16
    assert any("two-factor" in text for text in done.json["missing"])
    stored = read_result(result_file(tmp_path, "sim"))
    assert stored is not None and stored.mode == "sim"


def test_answers_are_kept_with_their_date(cq: Cq, tmp_path: Path) -> None:
    cq("preflight", "--json", "--answer", "two_factor=yes", "--answer", "code_review=no")
    items = {row["item"]: row for row in cq("preflight", "--json").json["items"]}
    assert (items["two_factor"]["state"], items["two_factor"]["by"]) == ("ok", "answered")
    assert items["two_factor"]["date"] and items["code_review"]["state"] == "bad"


@pytest.mark.parametrize("text", ["errors=yes", "two_factor", "two_factor=maybe", "x=yes"])
def test_an_answer_that_is_none_is_refused(cq: Cq, tmp_path: Path, text: str) -> None:
    done = cq("preflight", "--answer", text)
    assert done.status == 65 and "two_factor" in done.err


def test_the_live_list_asks_for_a_live_account(cq: Cq, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = cq("preflight", "--live", "--json")
    assert done.status == 78 and "IB_LIVE_ACCOUNT" in done.err
    monkeypatch.setenv("IB_LIVE_ACCOUNT", "U1234567")
    done = cq("preflight", "--live", "--json")
    assert done.status == 69 and done.json["mode"] == "live"
    assert (tmp_path / ".cq" / "preflight-live.json").exists()
