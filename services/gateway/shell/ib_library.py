"""Choose the broker library: alone imports it, ib_insync or its maintained successor ib_async.

Used of either: its message encoders (`Client`) and decoders (`Decoder`), and the plain objects these take and give. The
two ship the same `eventkit` module in different packages, so that only one of them is installed at a time.
"""

from __future__ import annotations

import asyncio
import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError

if TYPE_CHECKING:
    import ib_insync  # noqa: F401 - shows the import contract who uses it

LIBRARIES = ("ib_insync", "ib_async")
_PARTS = ("client", "contract", "decoder", "objects", "order")
_CURES = {
    "ib_insync": "pip install 'copilot-quant'",
    "ib_async": "pip uninstall -y ib_insync eventkit, then pip install 'copilot-quant[ib-async]'",
}


@dataclass(frozen=True, slots=True)
class Library:
    """The classes that are used; untyped, as both libraries are."""

    name: str
    client: Any
    decoder: Any
    contract: Any
    order: Any
    execution_filter: Any


_chosen = LIBRARIES[0]
_loops: list[asyncio.AbstractEventLoop] = []
"""The loop that Python may have made for the asking; kept, for it stays the current one of the thread."""


def choose_library(name: str) -> None:
    """Let every session of this process use a library.

    Raises:
        ConfigError: it is none of `LIBRARIES`, or not installed.
    """
    global _chosen
    load_library(name)
    _chosen = name


def chosen_library() -> Library:
    """Return the library of this process."""
    return load_library(_chosen)


@contextmanager
def loop_to_import() -> Iterator[None]:
    """Give eventkit the current event loop that it asks for when it is imported; nothing here uses it.

    To ask is deprecated since Python 3.12, and an error in a thread without one: the main one after `asyncio.run`, too.
    """
    loop: asyncio.AbstractEventLoop | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            _loops.append(asyncio.get_event_loop_policy().get_event_loop())
        except RuntimeError:
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
        try:
            yield
        finally:
            if loop is not None:
                asyncio.set_event_loop(None)
                loop.close()


@lru_cache(maxsize=len(LIBRARIES))
def load_library(name: str = LIBRARIES[0]) -> Library:
    """Return a library's classes.

    Raises:
        ConfigError: it is none of `LIBRARIES`, or not installed.
    """
    if name not in LIBRARIES:
        raise ConfigError(f"IB_LIBRARY: {name!r} is no broker library: choose {' or '.join(LIBRARIES)}")
    try:
        with loop_to_import():
            parts = {part: importlib.import_module(f"{name}.{part}") for part in _PARTS}
    except ImportError as e:
        raise ConfigError(f"IB_LIBRARY: {name} cannot be imported here ({e}): {_CURES[name]}") from e
    return Library(
        name=name,
        client=parts["client"].Client,
        decoder=parts["decoder"].Decoder,
        contract=parts["contract"].Contract,
        order=parts["order"].Order,
        execution_filter=parts["objects"].ExecutionFilter,
    )
