"""Stand between two ends of a TCP connection and cut it in every way a network can.

`hold`: nothing passes, then everything that waited passes (bytes arrive late). `lose`: nothing passes, then the
connections are reset and what waited is gone. `drop`: connections are reset at once and new ones are refused.
A proxy may rewrite what the far end answers: that is how each gateway gets its own way to the Redis that a Sentinel
names, without any gateway knowing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping

CHUNK = 1 << 16


def renamed(ports: Mapping[int, int]) -> Callable[[bytes], bytes]:
    """Return a rewriting of ports in a Redis reply; old and new must have five digits, so that lengths stay true."""
    pairs = [(b"\r\n%d\r\n" % old, b"\r\n%d\r\n" % new) for old, new in ports.items()]
    if any(len(old) != len(new) for old, new in pairs):
        raise ValueError("only a port of as many digits can take the place of another")

    def rewrite(data: bytes) -> bytes:
        for old, new in pairs:
            data = data.replace(old, new)
        return data

    return rewrite


class Proxy:
    """One listening port in front of another."""

    def __init__(self, port: int, target: int, *, rewrite: Callable[[bytes], bytes] | None = None) -> None:
        self.port, self.target = port, target
        self._rewrite = rewrite
        self._open = asyncio.Event()
        self._open.set()
        self._is_refusing = False
        self.delay_s = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=CHUNK)

    async def stop(self) -> None:
        """Reset everything and listen no more."""
        if self._server is not None:
            self._server.close()
        self.reset()

    async def cut(self, act: str, seconds: float) -> None:
        """Cut every connection for some seconds: `hold`, `lose` or `drop` (see above)."""
        if act == "drop":
            self._is_refusing = True
            self.reset()
            await asyncio.sleep(seconds)
            self._is_refusing = False
            return
        self._open.clear()
        await asyncio.sleep(seconds)
        if act == "lose":
            self.reset()
        self._open.set()

    async def slow(self, delay_s: float, seconds: float) -> None:
        """Let everything pass late for some seconds."""
        self.delay_s = delay_s
        await asyncio.sleep(seconds)
        self.delay_s = 0.0

    def reset(self) -> None:
        """Reset every connection; what has not passed is gone."""
        for writer in list(self._writers):
            found: socket.socket | None = writer.get_extra_info("socket")
            if found is not None and found.fileno() >= 0:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            await self._open.wait()
            if self._is_refusing:
                return
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
            self._writers.add(far)
            pumps = {
                asyncio.create_task(self._pump(reader, far, None)),
                asyncio.create_task(self._pump(far_reader, writer, self._rewrite)),
            }
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the far end is away, or the drill is over: so is this one
        finally:
            for one in (writer, far):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort() if self._is_refusing else one.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rewrite: Callable[[bytes], bytes] | None
    ) -> None:
        while data := await reader.read(CHUNK):
            await self._open.wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            writer.write(rewrite(data) if rewrite is not None else data)
            await writer.drain()
