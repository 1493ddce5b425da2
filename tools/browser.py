"""Look at a page as a person does, with the Chromium of this machine, over its DevTools protocol.

A page that listens to a stream never ends loading, so a browser that only saves a picture at the end of loading shows
it empty: this one waits until something is there.
"""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

BINARIES = ("chromium", "chromium-browser", "google-chrome")
START_LIMIT_S = 60.0


def binary() -> str | None:
    """Return the path of a Chromium, None without one."""
    return next((path for name in BINARIES if (path := shutil.which(name))), None)


class Page:
    """One open page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._asked = 0

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        self._asked += 1
        await self._socket.send_json({"id": self._asked, "method": method, "params": parameters})
        while True:
            answer: dict[str, Any] = await self._socket.receive_json()
            if answer.get("id") == self._asked:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    async def size(self, width: int, height: int, *, is_dark: bool = False) -> None:
        """Be a screen of this many CSS pixels that prefers dark or light."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[theme])

    async def open(self, url: str, until: str, limit_s: float = 60.0) -> None:
        """Go to an address and wait until the script `until` is true there."""
        await self.ask("Page.navigate", url=url)
        async with asyncio.timeout(limit_s):
            while not await self.value(until):  # noqa: ASYNC110 - another program: it can only be asked again
                await asyncio.sleep(0.2)

    async def value(self, script: str) -> Any:
        """Return what a script evaluates to."""
        answer = await self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        return answer["result"].get("value")

    async def picture(self, width: int, height: int) -> bytes:
        """Return a PNG of the upper left part of the page."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def open_page() -> AsyncIterator[Page]:
    """Start a browser of its own with an empty page, and end it at the end."""
    found = binary()
    if found is None:
        raise FileNotFoundError(f"no browser is on the PATH (looked for {', '.join(BINARIES)})")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0")
        process = await asyncio.create_subprocess_exec(
            found, *options, f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            async with asyncio.timeout(START_LIMIT_S):
                port = 0
                while not port:
                    line = (await process.stderr.readline()).decode(errors="replace")
                    told = re.search(r"listening on ws://127\.0\.0\.1:(\d+)/", line)
                    port = int(told[1]) if told else 0
            drain = asyncio.ensure_future(_drain(process.stderr))
            async with aiohttp.ClientSession() as http:
                async with http.get(f"http://127.0.0.1:{port}/json") as reply:
                    pages = [one for one in await reply.json() if one["type"] == "page"]
                async with http.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Page(socket)
            drain.cancel()
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass
