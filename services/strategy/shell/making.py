"""Make the instance of a strategy that a unit runs: the user's `__init__` and `State`, each mistake a sentence."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from services.strategy.api import Strategy
from services.strategy.core.saved import HandlerBlocked, Watched
from services.strategy.core.usercode import RAISED, text_of, where_of
from services.strategy.shell.loader import Declared
from services.strategy.shell.misfit import line_of
from shared.errors import BadInput

BEGINNING = "__init__"


def make_strategy(spec: Declared, unit_id: str = "", watched: Watched | None = None) -> Strategy:
    """Return a new instance; with `watched` one whose `__init__` blocks is interrupted like a handler.

    Raises:
        BadInput: it cannot be made; the sentence has file and line.
    """
    watched = watched or Watched()
    watched.event, watched.unit = BEGINNING, unit_id
    watched.calls += 1
    if watched.mark is not None:
        watched.mark.begin(unit_id, BEGINNING)
    try:
        try:
            strategy = spec.cls(spec.params)
        finally:
            watched.unit = ""
            if watched.mark is not None:
                watched.mark.end()
    except ValidationError as e:
        raise BadInput(_invalid(spec, e)) from e
    except RAISED as e:
        raise BadInput(f"{spec.cls.__name__}.__init__ raised {text_of(e)} at {where_of(e)}") from e
    except HandlerBlocked as e:
        raise BadInput(f"{spec.cls.__name__}.__init__ blocked: {e}, at {where_of(e)}") from e
    if not hasattr(strategy, "state") or not hasattr(strategy, "_unit"):
        where = line_of(spec.cls, "")
        raise BadInput(f"{where}: {spec.cls.__name__}.__init__ does not call super().__init__(params)")
    return strategy


def _invalid(spec: Declared, e: ValidationError) -> str:
    """Return what is wrong with a `State` that cannot begin empty; another model's error is like any other."""
    model = spec.cls.State
    first = e.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if not issubclass(model, BaseModel) or e.title != model.__name__:
        return f"{spec.cls.__name__}.__init__ raised {text_of(e)} at {where_of(e)}"
    where = line_of(model, field.partition(".")[0])
    return f"{where}: {model.__qualname__} cannot begin empty at {field!r} ({first['msg']}): give the field a default"
