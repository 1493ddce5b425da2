"""A Redis of the bench's own, on loopback, without persistence."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import redis

from copilot_quant.local.ports import reserve_ports
from copilot_quant.local.redis_process import find_redis


class BenchServer:
    """Start with `with BenchServer() as server:`; `url`, `host` and `port` say where it listens."""

    def __init__(self) -> None:
        self.port = reserve_ports(1)[0]
        self.host = "127.0.0.1"
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = Path(tempfile.mkdtemp(prefix="cq-bench-"))

    def __enter__(self) -> BenchServer:
        command = [find_redis().path, "--port", str(self.port), "--bind", self.host, "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self._folder)
        for _ in range(100):
            try:
                self.client().ping()
                return self
            except redis.ConnectionError:
                time.sleep(0.05)
        raise RuntimeError("the bench's Redis did not answer within 5 s")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def client(self) -> redis.Redis:
        """Return a plain client."""
        return redis.Redis(host=self.host, port=self.port)

    def flush(self) -> None:
        """Empty it."""
        self.client().flushall()
