"""Talk to a running simulator over its control port, for the command line."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from shared.errors import BadInput, BrokerUnavailable

TIMEOUT_S = 10.0


class Remote:
    """A running simulator."""

    def __init__(self, host: str, port: int) -> None:
        self._base = f"http://{host}:{port}"

    def text(self, path: str, body: dict[str, Any] | None = None) -> str:
        """Return what the control port answers.

        Raises:
            BrokerUnavailable: nobody answers there.
            BadInput: the simulator refuses what was asked; the text says why.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._base}{path}", data, {"Content-Type": "application/json"})  # noqa: S310 - loopback http, made here
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return str(answer.read().decode())
        except urllib.error.HTTPError as e:
            with e:
                raise BadInput(_reason(e.read().decode(errors="replace"))) from e
        except OSError as e:
            raise BrokerUnavailable(
                f"no simulator answers at {self._base}: start one with `cq simulator`, or name its --http-port"
            ) from e

    def json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the answer, read as JSON."""
        return json.loads(self.text(path, body))


def _reason(body: str) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:300]


def parameters_of(words: Sequence[str]) -> dict[str, Any]:
    """Return `name=value` words as parameters; a value that reads as JSON (3, 0.5, true, [399]) is that, else a text.

    Raises:
        BadInput: a word without an equals sign.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise BadInput(f"{word!r} is not a parameter: write name=value, such as seconds=3")
        try:
            found[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            found[name.replace("-", "_")] = value
    return found
