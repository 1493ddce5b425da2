"""Say in one sentence what is wrong in a strategies file or in the classes it names."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from services.strategy.shell.misfit import line_of
from shared.errors import BadInput


def sentence_of(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first mistake of a model's validation: `field: what is wrong, not 'this'`."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = ", ".join(field.alias or name for name, field in model.model_fields.items()) or "none"
        return f"{where}: there is no such key; there are: {known}"
    message = str(first["msg"]).removeprefix("Value error, ")
    given = first["input"]
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) and repr(given) not in message else ""
    return f"{where}: {message}{shown}"


def line_of_table(text: str, name: str) -> int:
    """Return the line of `[strategy.NAME]` in a strategies file, 0 where it is written otherwise."""
    header = re.compile(rf"\s*\[\s*strategy\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*\]")
    return next((number for number, line in enumerate(text.splitlines(), start=1) if header.match(line)), 0)


def check_models(cls: Any) -> None:
    """Refuse a class whose `Params` or `State` is of no kind that can be read and saved.

    Raises:
        BadInput: with file and line.
    """
    for name, kinds, words in (
        ("Params", (BaseModel,), "a pydantic model: derive it from BaseModel"),
        ("State", (BaseModel, dict), "a pydantic model or dict: derive it from BaseModel, or write State = dict"),
    ):
        found = getattr(cls, name, None)
        if not isinstance(found, type) or not issubclass(found, kinds):
            where = line_of(found if isinstance(found, type) else cls)
            raise BadInput(f"{where}: {cls.__name__}.{name} has to be {words}")
