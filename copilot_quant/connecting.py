"""Connect by a method that answers True or False, or by a `with` block that raises."""

from __future__ import annotations

from typing import Self

from shared.errors import BrokerUnavailable


class Connecting:
    """What has `connect` and `disconnect`, and says in `last_error` why it did not work."""

    last_error: str = ""

    def connect(self) -> bool:
        """Connect; False with the reason in `last_error` when it did not work."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Let go."""
        raise NotImplementedError

    def not_connected(self) -> BrokerUnavailable:
        """Return the error of using it without a connection."""
        return BrokerUnavailable(f"not connected: {self.last_error or 'call connect() first'}")

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BrokerUnavailable: it did not work.
        """
        if not self.connect():
            raise BrokerUnavailable(self.last_error)
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()
