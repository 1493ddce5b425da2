"""Keep a unit whose strategy cannot run: its book and its session rules, without a line of the user's code.

A strategy that is in quarantine, does not import, has wrong parameters or a state that fits no more may have
positions. Where its table says `flat_by`, the platform owes it that: the unit runs with the caretaker in the strategy's
place, takes fills and order events, cancels and closes at its time, and keeps the saved state for the mended strategy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from services.strategy.api import Strategy

if TYPE_CHECKING:
    from services.strategy.shell.loader import DeclaredUnit


class Caretaker(Strategy):
    """Does nothing by itself."""

    class Params(BaseModel):
        """None of its own."""

    class State(BaseModel):
        """Whatever the strategy saved."""

        model_config = ConfigDict(extra="allow")


def needs_care(declared: DeclaredUnit) -> bool:
    """Return whether the platform has something to carry out for a unit whatever becomes of its strategy."""
    return declared.strategy.rules is not None and bool(declared.strategy.rules.flat_by)


def in_care(declared: DeclaredUnit, why: str) -> DeclaredUnit:
    """Return the unit with the caretaker in its strategy's place."""
    spec = replace(
        declared.strategy, cls=Caretaker, params=Caretaker.Params(), bars=(), history=(), is_isolated=False
    )  # fmt: skip
    return replace(declared, strategy=spec, why_in_care=why)
