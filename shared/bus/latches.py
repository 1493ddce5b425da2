"""Say which latch of the `halt` hash an act of control sets or opens; `lua/claim.lua` reads waiting acts the same way.

| act | scope | latch |
|---|---|---|
| halt, flatten / resume | `account` | `ACCOUNT`: the field `stage`, by a procedure of the leader |
| halt, flatten / resume | `strategy:<name>`, `contract:<conId>` | the field `halt:<scope>` |
| pause_strategy / resume_strategy | `strategy:<name>` | the field `pause:strategy:<name>` |

A field holds `<stage> <who>: <reason>` while its latch is set, and is missing or empty while it is open. Beside them
claims keep `waits:<field>`: the last entry of `control` that sets the latch and that the leader had not read by then.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.messages.control import Control, ControlAction

ACCOUNT = "account"
HALT, PAUSE, WAITS = "halt:", "pause:", "waits:"
_SETS = (ControlAction.HALT, ControlAction.FLATTEN)


def latch_of(control: Control) -> tuple[str, bool] | None:
    """Return the latch and whether it is set (or opened) now; None for an act that is about none."""
    action, scope = control.action, control.scope
    if action in (*_SETS, ControlAction.RESUME):
        return (ACCOUNT if scope == ACCOUNT else HALT + scope), action is not ControlAction.RESUME
    if action in (ControlAction.PAUSE_STRATEGY, ControlAction.RESUME_STRATEGY):
        kind, _, name = scope.partition(":")
        return f"{PAUSE}strategy:{name or kind}", action is ControlAction.PAUSE_STRATEGY
    return None


def latches_on(strategy: str, con_id: int) -> tuple[str, str, str]:
    """Return the fields that hold back an order of a strategy in a contract."""
    return f"{HALT}strategy:{strategy}", f"{HALT}contract:{con_id}", f"{PAUSE}strategy:{strategy}"


def latches_in(stored: Mapping[str, str]) -> dict[str, str]:
    """Return the latches that a `halt` hash shows as set."""
    return {name: text for name, text in stored.items() if text and name.startswith((HALT, PAUSE))}
