"""`cq paper-check`: try on one's own paper account what the system assumes about IB, and write a report."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from copilot_quant.brokers.paper_check import PaperCheck, Restart
from copilot_quant.cli.output import JsonOption, console, print_json, print_table
from copilot_quant.cli.session import running_system
from copilot_quant.paper_report import ASSUMPTIONS, as_markdown, is_as_assumed, redacted
from shared.clock import NS_PER_S, SYSTEM_CLOCK, iso_utc
from shared.errors import ConfigError, ExitCode, Refused
from shared.settings import BrokerSettings, Mode, load_settings

RESTART_LIMIT_S = 600
PLAN = (
    "This places orders for ONE share each on a PAPER account, past risk and straight to TWS: two limit orders below "
    "the market, which are cancelled, and one market order, which is sold again. Some minutes; the market has "
    "to be open."
)


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("paper-check")(paper_check)


def paper_check(
    symbol: Annotated[str, typer.Option("--symbol", help="A US stock whose market is open.")] = "AAPL",
    report: Annotated[Path | None, typer.Option("--report", help="Where the report goes.")] = None,
    restart: Annotated[
        str, typer.Option("--restart", help="ask: you restart TWS when asked; wait: it is restarted meanwhile; no.")
    ] = "ask",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before ordering.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Try each assumption about IB that the system relies on, with one-share orders on your own paper account.

    Asks first, never touches a live account, cancels and sells what it did, hides account numbers in the report. Exit
    status 1 if something differs: please tell us, it is a mistake of the simulator or of the system.
    """
    settings = load_settings(BrokerSettings)
    if settings.mode is not Mode.PAPER:
        raise Refused("PAPER_ONLY", f"this is for a paper account only, and CQ_MODE is {settings.mode}")
    if running_system() is not None:
        raise Refused("PAPER_BESIDE", "a system runs here, and these orders would pass it by: stop it first")
    if restart not in ("ask", "wait", "no"):
        raise ConfigError(f"--restart {restart!r}: choose ask, wait or no")
    if not yes:
        console.print(PLAN)
        if typer.prompt("Type the paper account to go on").strip() != settings.account:
            raise Refused("PAPER_NOT_CONFIRMED", "the account typed is another one: nothing was sent")
    logging.getLogger("ib_insync").setLevel(logging.CRITICAL)  # refusals are what is looked for here
    check = PaperCheck(settings, symbol, _restarting(restart))
    asyncio.run(_run(check))
    found = check.found
    now = iso_utc(SYSTEM_CLOCK.wall_ns())
    path = report or Path(f"paper-check-{now[:10]}.md")
    facts = {"date": now[:10], "symbol": symbol, **check.facts}
    path.write_text(as_markdown(found, facts, [settings.account, settings.broker_host]), encoding="utf-8")
    if as_json:
        rows = [{"item": one.key, "outcome": one.outcome, "seen": redacted(one.evidence)} for one in found]
        print_json({"report": str(path), "items": rows, "facts": facts})
    else:
        table = [[one.outcome, ASSUMPTIONS[one.key], redacted(one.evidence)] for one in found]
        print_table("", ["", "assumption", "seen"], table, empty="")
        console.print(f"report: {path}")
    sys.exit(ExitCode.OK if is_as_assumed(found) else ExitCode.FAILED)


async def _run(check: PaperCheck) -> None:
    """Run it, and clean up however it ends."""
    try:
        await check.run()
    finally:
        left = await check.clean_up()
        if left:
            sys.stderr.write(f"cq: {left}\n")


def _restarting(how: str) -> Restart:
    """Return what is awaited when TWS may be restarted."""

    async def restarted(is_connected: Callable[[], bool]) -> bool:
        if how == "no":
            return False
        if how == "wait":
            sys.stderr.write("restart TWS now\n")
            sys.stderr.flush()
            deadline_ns = SYSTEM_CLOCK.monotonic_ns() + RESTART_LIMIT_S * NS_PER_S
            while is_connected() and SYSTEM_CLOCK.monotonic_ns() < deadline_ns:
                await SYSTEM_CLOCK.sleep(0.2)
            return not is_connected()
        question = "A GTC order rests. Restart TWS now (File, Exit, log in again), then say yes; no leaves this out"
        return await asyncio.to_thread(typer.confirm, question)

    return restarted
