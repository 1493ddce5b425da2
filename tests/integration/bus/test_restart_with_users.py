"""A server with the project's own configuration and users keeps what scripts wrote over a restart, and lets nobody in.

Redis loads its append-only file as the default user and checks the rights of every transaction in it: when that user
may do nothing, each script's writes are missing afterwards, without an error that anybody sees.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from copilot_quant.local.redis_process import write_redis_config
from shared.bus.acl import ROLES, acl_lines
from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.messages.orders import CancelRequest, Decision
from tests.support import Kind, available_kinds, eventually_sync, free_port, server_binary

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(60)]
KEYS = Keys("paper")
PASSWORDS = {role: f"secret-{role}" for role in ROLES}
ONCE = Retry(NoBackoff(), 0)


class Server:
    def __init__(self, folder: Path, kind: Kind) -> None:
        self.port = free_port()
        config = write_redis_config(folder, self.port, acl_lines(KEYS, PASSWORDS))
        self._command = [server_binary(kind), str(config)]
        self._process: subprocess.Popen[bytes] | None = None

    def client(self, role: str = "admin") -> redis.Redis:
        return redis.Redis(port=self.port, username=role, password=PASSWORDS[role], socket_timeout=5)

    def url(self, role: str) -> str:
        return f"redis://{role}:{PASSWORDS[role]}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

        def answers() -> bool:
            try:
                with self.client() as client:
                    return bool(client.ping())
            except redis.RedisError:
                return False

        eventually_sync(answers, 15)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


@pytest.fixture(params=available_kinds())
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, request.param)
    made.start()
    yield made
    made.kill()


async def test_what_scripts_wrote_is_there_after_a_restart(server: Server) -> None:
    admin = open_bus(server.url("admin"), KEYS)
    await admin.load_functions()
    await admin.close()
    bus = open_bus(server.url("risk"), KEYS)
    token = await bus.lease_acquire("risk", "a", await bus.lease_view("risk"), at_least_epoch=10**15)
    assert token is not None
    await bus.raise_fence(token)
    decision = Decision(intent_id="i" * 20, approved=False)
    await bus.decide(token, entry_id="5-0", decision=decision, command=None, source="risk:a")
    await bus.append(KEYS.commands, CancelRequest(cancel_id="1", intent_id="i" * 20), source="risk:a")
    await bus.close()
    server.kill()
    server.start()
    bus = open_bus(server.url("risk"), KEYS)
    assert await bus.stream_length(KEYS.commands) == 1, "a plain command's write"
    assert await bus.stream_length(KEYS.decisions) == 1, "a script's write"
    assert await bus.get_cursor("intents") == "5-0"
    assert (await bus.lease_view("risk")).epoch == token.epoch
    await bus.close()


def test_the_default_user_can_do_nothing(server: Server) -> None:
    for username, password in ((None, None), (None, ""), ("default", "x")):
        client = redis.Redis(port=server.port, socket_timeout=5, retry=ONCE, username=username, password=password)
        with client:
            with pytest.raises((redis.AuthenticationError, redis.ResponseError)):
                client.get("cq:paper:identity")
            with pytest.raises((redis.AuthenticationError, redis.ResponseError)):
                client.execute_command("HELLO", "2", "AUTH", "default", "")
