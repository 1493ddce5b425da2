"""Walk over an order's fields in wire order, writing an object or reading one, with the same code.

The three order messages are long, and what follows often depends on what came before. A layout is therefore a
function over a walk: `walk.fields("tif", "oca_group")`, `if walk.field("hedge_type"): walk.field("hedge_param")`.
Written once, it cannot differ between the directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from shared.tws.fields import TEXT, Reader, Scalar, Wire, Writer, short_values


class Plan(NamedTuple):
    """How to write several attributes at once: most of them have their default, whose text is known."""

    values: attrgetter[Any]
    defaults: tuple[Any, ...]
    texts: tuple[str, ...]


_NO_DEFAULT = object()


class Wires(dict[str, Wire[Any]]):
    """The wire of each attribute of a class by name."""

    def __init__(self, wires: Mapping[str, Wire[Any]], defaults: Mapping[str, Any] | None = None) -> None:
        """Look up what a reader will make of short texts, where an attribute is one field; `defaults` by name."""
        super().__init__(wires)
        self.short = {name: values for name, wire in wires.items() if (values := short_values(wire)) is not None}
        self.defaults = dict(defaults or {})
        self.plans: dict[tuple[str, ...], Plan] = {}

    def plan(self, names: tuple[str, ...]) -> Plan:
        """Return how to write these attributes; only names that the code has are asked for."""
        defaults, texts = [], []
        for name in names:
            wire, value = self[name], self.defaults.get(name, _NO_DEFAULT)
            # Numbers that can be equal and look different (0 and 0.00) are not recognised by being equal.
            is_plain = value is None or isinstance(value, str | int)
            if is_plain and (wire is TEXT or isinstance(wire, Scalar)):
                out = Writer(0)
                wire.write(out, value)
                texts.append(out.parts[0])
                defaults.append(value)
            else:
                texts.append("")
                defaults.append(_NO_DEFAULT)
        # `attrgetter` of one name returns no tuple, so that it is asked for twice.
        getter = attrgetter(*names) if len(names) > 1 else attrgetter(names[0], names[0])
        plan = self.plans[names] = Plan(getter, tuple(defaults), tuple(texts))
        return plan


class Walk(Protocol):
    """One object on its way to or from the wire."""

    version: int

    def field(self, name: str, wire: Wire[Any] | None = None) -> Any:
        """Write or read one attribute, by its own wire or another one; return its value."""

    def fields(self, *names: str) -> None:
        """Write or read several attributes by their own wires."""

    def filler(self, text: str) -> None:
        """Write a field that means nothing any more, or skip it."""


class WriteWalk:
    """Write an object's attributes."""

    __slots__ = ("_obj", "_out", "_wires", "version")

    def __init__(self, out: Writer, obj: object, wires: Wires) -> None:
        self._out = out
        self._obj = obj
        self._wires = wires
        self.version = out.version

    def field(self, name: str, wire: Wire[Any] | None = None) -> Any:
        """Write one attribute and return its value."""
        value = getattr(self._obj, name)
        (wire or self._wires[name]).write(self._out, value)
        return value

    def fields(self, *names: str) -> None:
        """Write several attributes."""
        out, wires = self._out, self._wires
        plan = wires.plans.get(names) or wires.plan(names)
        values = plan.values(self._obj)
        if values == plan.defaults:
            out.parts.extend(plan.texts)
            return
        for name, value, default, text in zip(names, values, plan.defaults, plan.texts, strict=False):
            if value is default:
                out.parts.append(text)
            else:
                wires[name].write(out, value)

    def filler(self, text: str) -> None:
        """Write a field that means nothing."""
        self._out.raw(text)


class ReadWalk:
    """Read an object's attributes into `values`, from which the caller builds it.

    Most fields of an order are empty or have one character: those are looked up, not parsed.
    """

    __slots__ = ("_short", "_src", "_wires", "values", "version")

    def __init__(self, src: Reader, wires: Wires) -> None:
        self._src = src
        self._wires = wires
        self._short = wires.short
        self.values: dict[str, Any] = {}
        self.version = src.version

    def field(self, name: str, wire: Wire[Any] | None = None) -> Any:
        """Read one attribute and return its value."""
        self._src.label = name
        value = (wire or self._wires[name]).read(self._src)
        self.values[name] = value
        return value

    def fields(self, *names: str) -> None:
        """Read several attributes."""
        src, short, values = self._src, self._short, self.values
        texts = src.texts
        count = len(texts)
        for name in names:
            known = short.get(name)
            if known is not None and src.position < count and (text := texts[src.position]) in known:
                src.position += 1
                values[name] = known[text]
            else:
                self.field(name)

    def filler(self, text: str) -> None:  # noqa: ARG002 -- the same call writes it
        """Skip a field that means nothing."""
        self._src.label = "an unused field"
        self._src.take()
