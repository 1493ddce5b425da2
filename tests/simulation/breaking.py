"""Replace parts of the system for one run, and keep the list of what that breaks (`mutants.py`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from tests.simulation.run import Run

Undo = Callable[[], None]
Mutant = Callable[[Run], Undo]
MUTANTS: dict[str, Mutant] = {}


class Patches(contextlib.ExitStack):
    """Replacements that are taken back together."""

    def put(self, owner: Any, name: str, value: Any) -> Any:
        """Replace an attribute; return what it was."""
        before = vars(owner).get(name, _MISSING)
        if before is _MISSING:
            self.callback(delattr, owner, name)
        else:
            self.callback(setattr, owner, name, before)
        setattr(owner, name, value)
        return getattr(owner, name) if before is _MISSING else before


_MISSING = object()


def mutant(act: Callable[[Run, Patches], None]) -> Callable[[Run, Patches], None]:
    """Register a mutant under its function's name."""

    def apply(run: Run) -> Undo:
        patches = Patches()
        act(run, patches)
        return patches.close

    MUTANTS[act.__name__] = apply
    return act
