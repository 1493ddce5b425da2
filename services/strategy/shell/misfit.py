"""Say where a saved state stopped fitting its model, and how its author gets out of it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from services.strategy.core.saved import StateMisfit
from shared.errors import BadInput


def explained(misfit: StateMisfit) -> BadInput:
    """Return the error with the file and line of the field, and the two ways out."""
    where = line_of(misfit.model, misfit.field.partition(".")[0])
    return BadInput(
        f"{misfit}{f', {where}' if where else ''}: give the field a default, or a type that takes what was saved, and "
        f"`cq strategies reload`; or begin with an empty state, positions and orders are kept: "
        f"`cq strategies reset {misfit.unit}`"
    )


def line_of(model: type[Any], field_name: str = "") -> str:
    """Return `file:line` of a class's field, of the class where it has no such field, "" where there is no source."""
    try:
        lines, first = inspect.getsourcelines(model)
        file = inspect.getsourcefile(model) or ""
    except (OSError, TypeError):
        return ""
    for number, line in enumerate(lines):
        if field_name and line.strip().startswith((f"{field_name}:", f"{field_name} :")):
            return f"{Path(file).name}:{first + number}"
    return f"{Path(file).name}:{first}"
