from __future__ import annotations

import subprocess
import sys

import pytest

from services.gateway.shell.ib_library import choose_library, chosen_library, load_library
from shared.errors import ConfigError
from tests.support import ROOT, clean_environment


def test_the_installed_library_has_what_is_used() -> None:
    library = load_library("ib_insync")
    assert library.name == "ib_insync" and library.client.CONNECTED == 2
    assert library.contract(conId=7).conId == 7 and library.order().orderRef == ""


def test_a_missing_library_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    load_library.cache_clear()
    monkeypatch.setitem(sys.modules, "ib_async", None)
    with pytest.raises(ConfigError, match=r"IB_LIBRARY: ib_async cannot be imported .*ib-async"):
        load_library("ib_async")
    with pytest.raises(ConfigError, match="choose ib_insync or ib_async"):
        load_library("ibapi")


def test_the_gateway_refuses_to_start_on_a_library_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.gateway"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        env=clean_environment({"CQ_MODE": "sim", "IB_LIBRARY": "ib_sync"}),
    )  # fmt: skip
    assert done.returncode == 78 and "IB_LIBRARY" in done.stdout + done.stderr


def test_a_process_uses_what_was_chosen() -> None:
    assert chosen_library().name == "ib_insync"
    with pytest.raises(ConfigError):
        choose_library("ibapi")
    choose_library("ib_insync")
    assert chosen_library() is load_library("ib_insync")
