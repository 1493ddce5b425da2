"""Find the client libraries that `python -m tools.peers` has installed apart, for the processes of the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.peers import CACHE, OPTIONAL, is_installed


def peer(name: str) -> Path:
    """Return the folder of a client library, for PYTHONPATH; without it the test skips, or fails where `CI` is set."""
    if not is_installed(name):
        reason = f"the client library {name} is not in {CACHE}: python -m tools.peers"
        if os.environ.get("CI") and name not in OPTIONAL:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return CACHE / name
