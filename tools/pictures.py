"""Draw the README's picture: run the demo's system, wait, and save the terminal view as SVG.

`python tools/pictures.py [SECONDS]` writes `docs/pictures/demo.svg`. The view is the one `make demo` shows.
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

TARGET = ROOT / "docs" / "pictures" / "demo.svg"
WIDTH, HEIGHT = 150, 44


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
        console.print(render(frame), height=HEIGHT)
        TARGET.parent.mkdir(exist_ok=True)
        text = console.export_svg(title="make demo")
        # The fonts of a content network are not fetched to show a picture: any monospaced one will do.
        TARGET.write_text(re.sub(r"@font-face \{.*?\}\n", "", text, flags=re.DOTALL))
    finally:
        await asyncio.to_thread(system.stop)


if __name__ == "__main__":
    asyncio.run(draw(float(sys.argv[1]) if len(sys.argv) > 1 else 45.0))
