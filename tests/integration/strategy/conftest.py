"""The market that workers are tested in; each module says in `CON_IDS` which contracts it has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.strategy.market import Market


@pytest.fixture
async def market(request: pytest.FixtureRequest, redis_url: str, deployment: str) -> AsyncIterator[Market]:
    market = Market(redis_url, deployment, request.module.CON_IDS)
    await market.open()
    yield market
    await market.bus.close()
