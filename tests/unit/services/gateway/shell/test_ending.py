from __future__ import annotations

import pytest

from services.gateway.shell.ending import reason_of
from shared.errors import BusUnavailable, ConfigError, Fenced


def test_the_lease_that_was_lost_is_named_before_what_followed_from_it() -> None:
    group = BaseExceptionGroup("loops", [BusUnavailable("away"), BaseExceptionGroup("one", [Fenced("epoch 3")])])
    assert reason_of(group) == "epoch 3"
    assert reason_of(BaseExceptionGroup("loops", [BusUnavailable("away")])) == "away"


@pytest.mark.parametrize("mistake", [ValueError("ours"), ConfigError("IB_PORT: 7 is taken"), KeyboardInterrupt()])
def test_a_mistake_goes_on_to_the_runtime(mistake: BaseException) -> None:
    with pytest.raises(type(mistake)):
        reason_of(BaseExceptionGroup("loops", [Fenced("epoch 3"), mistake]))
