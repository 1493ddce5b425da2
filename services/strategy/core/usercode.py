"""What a user's code may do wrong, and what it may remember: named with its line, kept away from everything else.

Invariants:
1. Whatever user code raises is an `Exception`, `SystemExit` (somebody wrote `sys.exit`) or `HandlerBlocked`; each of
   them costs its unit only.
2. A state is a pydantic model, or a dict of what JSON can hold, so that what is read back is what was saved.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

RAISED = (Exception, SystemExit)
"""What code that is not ours may raise; `HandlerBlocked` is ours."""
_NOT_THE_USERS = (f"{PurePath(__file__).parent.parent}/", "/site-packages/", "/lib/python3", "<frozen ")
"""Parts of file names of ours, of libraries and of Python itself."""
_PLAIN = (str, int, float, bool, type(None))


class Nonsense(TypeError):
    """Raised for a handler that returns what nobody asks for; the id that an order returns may be returned on."""

    def __init__(self, handler: Callable[..., object], returned: object) -> None:
        if inspect.iscoroutine(returned):
            returned.close()
            what = "is async: write `def`, nothing waits in a handler"
        else:
            what = f"returned a {type(returned).__name__}: nobody takes it; order with self.buy, self.sell and the like"
        super().__init__(f"{getattr(handler, '__name__', 'the handler')} {what}")
        code = getattr(inspect.unwrap(handler), "__code__", None)
        self.frames = [traceback.FrameSummary(code.co_filename, code.co_firstlineno, code.co_name)] if code else []


class UnsavableState(TypeError):
    """Raised for a state that cannot be saved, or would be read back as something else."""


def text_of(e: BaseException) -> str:
    """Return an error as one line: its type and what it says."""
    said = " ".join(str(e).split())
    return f"{type(e).__name__}: {said}" if said else type(e).__name__


def where_of(e: BaseException) -> str:
    """Return `file:line` of the innermost line that is the user's, "?" where there is none."""
    frames: list[traceback.FrameSummary] = list(traceback.extract_tb(e.__traceback__)[1:])
    if isinstance(e, Nonsense):
        frames = e.frames
    theirs = [frame for frame in frames if not any(part in frame.filename for part in _NOT_THE_USERS)]
    last = (theirs or frames)[-1:]
    return f"{last[0].filename}:{last[0].lineno}" if last else "?"


def file_of(cls: type[Any]) -> str:
    """Return the file that a class of the user's was written in, "?" where it has no method."""
    codes = [code for one in vars(cls).values() if (code := getattr(inspect.unwrap(one), "__code__", None))]
    return codes[0].co_filename if codes else "?"


def saved_of(state: object) -> dict[str, Any]:
    """Return a strategy's state as JSON can hold it.

    Raises:
        UnsavableState: it is neither a pydantic model nor a dict, or a dict with something that JSON has not.
        Exception: whatever a serializer of the user's raises.
    """
    if isinstance(state, BaseModel):
        return state.model_dump(mode="json")
    if not isinstance(state, dict):
        raise UnsavableState(f"self.state is of type {type(state).__name__}: it is saved as a pydantic model or dict")
    _check_plain(state, "self.state")
    return dict(state)


def _check_plain(value: object, where: str) -> None:
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                raise UnsavableState(f"{where} has the key {key!r}: keys of a dict that is saved are text")
            _check_plain(one, f"{where}[{key!r}]")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            _check_plain(one, f"{where}[{number}]")
    elif not isinstance(value, _PLAIN):
        raise UnsavableState(
            f"{where} is a {type(value).__name__}: a dict that is saved holds text, numbers, booleans, None, lists and "
            "dicts; a pydantic model as State holds the others"
        )


def restored(state: object, saved: Mapping[str, Any]) -> Any:
    """Return a state of the same type as `state` with what was saved.

    Raises:
        ValidationError: it does not fit the model.
    """
    if isinstance(state, BaseModel):
        return type(state).model_validate(saved)
    return type(state)(saved)  # type: ignore[call-arg] # a dict, or one that derives from it
