"""Which commit a run was of."""

from __future__ import annotations

import subprocess

from tests.support import ROOT


def commit() -> str:
    """Return the commit that runs, with `+` where files differ from it; empty outside of a repository."""
    command = ("git", "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
