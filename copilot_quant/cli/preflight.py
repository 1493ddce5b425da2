"""`cq preflight`: go through the checklist before real money; what the program cannot see it asks, and remembers."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from copilot_quant.cli.output import JsonOption, console, print_json, print_table
from copilot_quant.cli.session import operator_settings, running_system
from copilot_quant.desk import open_desk
from copilot_quant.local.run_file import RunningSystem
from copilot_quant.preflight import SystemFacts, judge
from copilot_quant.preflight_facts import facts_of, guard_answers, system_facts
from services.risk.settings import RiskSettings
from shared.clock import NS_PER_S, SYSTEM_CLOCK, iso_utc
from shared.errors import BadInput, BusUnavailable, ExitCode
from shared.preflight import BY_KEY, DAY_NS, ITEMS, Entry, Result, missing, read_result, result_file, write_result
from shared.settings import BrokerSettings, Mode, load_settings

MARKS = {"ok": Text("ok", "green"), "bad": Text("not yet", "red"), "open": Text("open", "yellow")}
YES = {"y": "ok", "yes": "ok", "n": "bad", "no": "bad"}


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("preflight")(preflight)


def preflight(
    live: Annotated[bool, typer.Option("--live", help="For the live account, whatever CQ_MODE says.")] = False,
    answer: Annotated[
        list[str] | None, typer.Option("--answer", metavar="ITEM=yes|no", help="Answer without being asked.")
    ] = None,
    ask: Annotated[bool | None, typer.Option("--ask/--no-ask", help="Default: ask at a terminal.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Go through the checklist before real money; exit status 0 only if nothing is missing, else 69.

    What the program can see it checks now; what only you know it asks, and keeps the answer with its date in
    `.cq/preflight-….json` for 90 days. Sends no order.
    """
    settings = _settings(wants_live=live)
    path = result_file(Path.cwd(), settings.deployment)
    answers = _answers(read_result(path), settings, answer or [])
    result = _judge(settings, answers)
    if ask if ask is not None else (sys.stdin.isatty() and not as_json):
        result = _judge(settings, {**answers, **_ask(result)})
    write_result(path, result)
    left = missing(result, mode=result.mode, account=result.account, now_ns=result.at_ns)
    _show(result, left, path, as_json=as_json)
    sys.exit(ExitCode.UNAVAILABLE if left else ExitCode.OK)


def _settings(*, wants_live: bool) -> BrokerSettings:
    """Return the settings of the system that runs here, or of `.env`; a paper system tells nothing of a live one."""
    running = running_system()
    if wants_live and (running is None or running.mode != Mode.LIVE.value):
        os.environ["CQ_MODE"] = Mode.LIVE.value
        return load_settings(BrokerSettings)
    return operator_settings()


def _answers(earlier: Result | None, settings: BrokerSettings, given: list[str]) -> dict[str, Entry]:
    """Return the answers of earlier runs that still count, and those of this command line.

    Raises:
        BadInput: one names no item that is asked, or is neither yes nor no.
    """
    now_ns = SYSTEM_CLOCK.wall_ns()
    found: dict[str, Entry] = {}
    if earlier is not None and (earlier.mode, earlier.account) == (settings.mode.value, settings.account):
        answered = [one for one in earlier.entries if one.by == "answered" and BY_KEY[one.key].question]
        found = {one.key: one for one in answered if (now_ns - one.at_ns) // DAY_NS < one.good_days}
    asked = [item.key for item in ITEMS if item.question]
    for text in given:
        key, _, word = text.partition("=")
        state = YES.get(word.strip().lower())
        if key not in asked or state is None:
            raise BadInput(f"--answer {text!r}: write ITEM=yes or ITEM=no, with one of {', '.join(asked)}")
        found[key] = _answered(key, is_yes=state == "ok")
    return found


def _answered(key: str, *, is_yes: bool) -> Entry:
    text = "you said yes" if is_yes else "you said no"
    return Entry(key, "ok" if is_yes else "bad", "answered", SYSTEM_CLOCK.wall_ns(), text)


def _ask(result: Result) -> dict[str, Entry]:
    """Ask what is open and can be answered."""
    questions = [one.key for one in result.entries if one.state == "open" and BY_KEY[one.key].question]
    return {key: _answered(key, is_yes=typer.confirm(BY_KEY[key].question)) for key in questions}


def _judge(settings: BrokerSettings, answers: dict[str, Entry]) -> Result:
    running = running_system()
    if running is not None and running.mode != settings.mode.value:
        running = None  # of the other account
    system, can_halt = asyncio.run(_look(settings, running))
    facts = facts_of(settings, Path.cwd(), answers, system, running=running, can_halt=can_halt)
    return judge(facts, settings.account)


async def _look(settings: BrokerSettings, running: RunningSystem | None) -> tuple[SystemFacts | None, bool]:
    """Return what a running system shows, None where none answers, and whether its guard can be told to halt."""
    can_halt = await guard_answers(running)
    async with open_desk(settings, client_name="cq-preflight") as desk:
        try:
            return await system_facts(desk, load_settings(RiskSettings)), can_halt
        except BusUnavailable:
            return None, can_halt


def _show(result: Result, left: list[str], path: Path, *, as_json: bool) -> None:
    def day(one: Entry) -> str:
        return iso_utc(one.at_ns // NS_PER_S * NS_PER_S)[:10] if one.by else ""

    if as_json:
        rows = [
            {"item": one.key, "title": BY_KEY[one.key].title, "state": one.state, "by": one.by, "date": day(one),
             "text": one.text} for one in result.entries
        ]  # fmt: skip
        print_json({"mode": result.mode, "file": str(path), "missing": left, "items": rows})
        return
    table = [[MARKS[one.state], BY_KEY[one.key].title, one.text, one.by, day(one)] for one in result.entries]
    print_table(f"before real money ({result.mode})", ["", "item", "seen", "by", "date"], table, empty="")
    console.print(
        f"{len(left)} of {len(ITEMS)} missing; kept in {path}" if left else f"nothing is missing; kept in {path}"
    )
