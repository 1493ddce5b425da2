"""Draw the README's pictures: run the demo's system, wait, and save the terminal view and the status page.

`python -m tools.pictures [SECONDS]` writes `docs/pictures/demo.svg`, which is the view that `make demo` shows, and
`status-page.png` where there is a browser.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
from pathlib import Path

import aiohttp
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from copilot_quant.desk import open_desk  # noqa: E402 - the project's root has to be on the path first
from copilot_quant.local.books import judge  # noqa: E402
from copilot_quant.local.system import LocalOptions, LocalSystem  # noqa: E402
from copilot_quant.local.view import Frame, render  # noqa: E402
from shared.settings import BrokerSettings, load_settings  # noqa: E402
from tools.browser import binary, open_page  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 150, 44
PAGE = 1280, 1500
IS_DRAWN = "document.querySelectorAll('#fills tr').length > 2 && document.querySelectorAll('#chart canvas').length > 0"
CHART_S = 3.0


async def draw(seconds: float) -> None:
    """Run the system for `seconds`, then draw one frame of its view."""
    strategies = ROOT / "strategies" / "strategies.toml"
    system = LocalSystem(LocalOptions(strategies_file=str(strategies)), Path.cwd())
    try:
        await system.start(print)
        await asyncio.sleep(seconds)
        os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
        async with open_desk(load_settings(BrokerSettings)) as desk, aiohttp.ClientSession() as http:
            async with http.get(f"{system.status_page}api/state") as reply:
                state = await reply.json()
            verdict = await judge(desk, system.simulator_http)
        frame = Frame(state, system.supervisor.processes(), verdict, system.status_page)
        console = Console(width=WIDTH, height=HEIGHT, record=True, file=io.StringIO(), force_terminal=True)
        console.print(render(frame, WIDTH), height=HEIGHT)
        text = console.export_svg(title="make demo")
        # The fonts of a content network are not fetched to show a picture: any monospaced one will do.
        (PICTURES / "demo.svg").write_text(re.sub(r"@font-face \{.*?\}\n", "", text, flags=re.DOTALL))
        if binary() is not None:
            (PICTURES / "status-page.png").write_bytes(await page_picture(system.status_page))
    finally:
        await asyncio.to_thread(system.stop)


async def page_picture(address: str) -> bytes:
    """Return a picture of the status page, once it shows fills."""
    async with open_page() as page:
        await page.size(*PAGE)
        await page.open(address, IS_DRAWN)
        await asyncio.sleep(CHART_S)
        return await page.picture(*PAGE)


if __name__ == "__main__":
    asyncio.run(draw(float(sys.argv[1]) if len(sys.argv) > 1 else 45.0))
