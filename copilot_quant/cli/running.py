"""`cq demo`, `cq up`, `cq simulator`: run the system, or only its exchange, on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from copilot_quant.cli.looking import print_status, read_status
from copilot_quant.cli.output import JsonOption, console, print_json
from copilot_quant.desk import open_desk
from copilot_quant.local.demo import DemoOptions, run_demo
from copilot_quant.local.failover_demo import run_failover_demo
from copilot_quant.local.failover_story import render
from copilot_quant.local.options import options_of
from copilot_quant.local.refusals import check_refusals
from copilot_quant.local.run_file import refuse_second
from copilot_quant.local.system import LocalOptions, LocalSystem
from copilot_quant.preflight_facts import check_preflight
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import ConfigError, CqError, ExitCode
from shared.settings import BrokerSettings, Mode, load_settings

SAMPLE_STRATEGIES = "strategies/strategies.toml"
REPLAY_STRATEGIES = "strategies/replay.toml"
FIRST_STATUS_LIMIT_S = 30


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    demo_app = typer.Typer(invoke_without_command=True)
    demo_app.callback()(demo)
    demo_app.command("failover")(failover)
    app.add_typer(demo_app, name="demo")
    app.command("up")(up)
    app.command(
        "simulator",
        add_help_option=False,  # the simulator has its own
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(simulator)


def demo(
    context: typer.Context,
    seconds: Annotated[float, typer.Option("--for", help="Run unattended for so many seconds, then judge.")] = 0.0,
    replay: Annotated[str, typer.Option("--replay", help="CSV files of a real day, comma separated.")] = "",
    speed: Annotated[
        float, typer.Option("--speed", help="How many times faster than real time the replay runs.")
    ] = 1.0,
    strategies: Annotated[str, typer.Option("--strategies", help="A TOML file of strategies of your own.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the synthetic market.")] = 7,
    keep: Annotated[bool, typer.Option("--keep", help="Keep logs and data of this run.")] = False,
) -> None:
    """Run the whole system against the simulator and show it live; no account, no Docker, no Redis needed.

    With --for it runs unattended and ends with a summary: exit status 0 only if orders were filled, nothing is in
    dead-letter, and positions and cash on the bus equal the simulator's own books.

    `cq demo failover` kills the leading gateway and shows what happened.
    """
    if context.invoked_subcommand is not None:
        return
    refuse_second(Path.cwd())
    files = tuple(Path(name.strip()) for name in replay.split(",") if name.strip())
    for file in files:
        if not file.is_file():
            raise ConfigError(f"--replay: there is no file {str(file)!r}")
    default = REPLAY_STRATEGIES if files else SAMPLE_STRATEGIES
    options = DemoOptions(
        seconds=seconds,
        replay=files,
        speed=speed,
        strategies_file=_strategies_file(strategies or default),
        seed=seed,
        keep_files=keep,
        is_interactive=seconds <= 0 and sys.stdin.isatty() and sys.stdout.isatty(),
    )
    sys.exit(asyncio.run(run_demo(options, console)))


def failover(
    strategies: Annotated[str, typer.Option("--strategies", help="A TOML file of strategies.")] = SAMPLE_STRATEGIES,
    keep: Annotated[bool, typer.Option("--keep", help="Keep logs and data of this run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Kill the leading gateway under order flow and draw what the broker saw: nothing twice, nothing lost.

    An order that rests at the broker is filled there while no gateway leads. Exit status 0 only if the standby took
    over, orders flow again, and the broker's books and the bus agree.
    """

    def progress(line: str) -> None:
        if as_json:
            sys.stderr.write(f"{line}\n")
        else:
            console.print(line, highlight=False)

    refuse_second(Path.cwd())
    story = asyncio.run(run_failover_demo(_strategies_file(strategies), progress, keep_files=keep))
    if as_json:
        print_json(story.as_json())
    else:
        console.print(render(story))
    sys.exit(ExitCode.OK if story.is_clean else ExitCode.FAILED)


def _strategies_file(name: str) -> str:
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"there is no strategies file {name!r}: name one with --strategies (TOML)")
    return str(path.resolve())


def up(
    strategies: Annotated[str, typer.Option("--strategies", help="TOML file of strategies.")] = SAMPLE_STRATEGIES,
    limits: Annotated[str, typer.Option("--limits", help="TOML file of risk limits.")] = "",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Strategy workers.")] = 2,
    gateways: Annotated[int, typer.Option("--gateways", min=1, help="Gateways: one leads, the others stand by.")] = 2,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask in live mode.")] = False,
) -> None:
    """Run the system against the TWS or IB Gateway that `.env` names (paper by default), Redis included."""
    refuse_second(Path.cwd())
    settings = load_settings(BrokerSettings)
    console.print(
        f"{settings.mode.upper()}  account {settings.account}  broker {settings.broker_host}:{settings.broker_port}",
        style="bold",
    )
    if settings.mode is Mode.LIVE and not yes:
        typed = typer.prompt("LIVE trades real money: type the account to go on")
        if typed.strip() != settings.account:
            raise ConfigError("the account typed is another one than IB_LIVE_ACCOUNT: nothing was started")
    if limits and not Path(limits).is_file():
        raise ConfigError(f"--limits: there is no file {limits!r}")
    check_preflight(settings, Path.cwd())
    options = options_of(
        settings,
        Path.cwd(),
        strategies_file=_strategies_file(strategies),
        limits_file=str(Path(limits).resolve()) if limits else "",
        gateways=gateways,
        workers=workers,
    )
    asyncio.run(_run_until_stopped(options))


async def _run_until_stopped(options: LocalOptions) -> None:
    system = LocalSystem(options, Path.cwd())
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await system.start(lambda line: console.print(line, highlight=False))
        await _show_status(system)
        console.print(f"status page: {system.status_page}   logs: {system.run_dir}/logs   stop: Ctrl-C")
        while system.supervisor.is_running:
            await SYSTEM_CLOCK.sleep(1.0)
        raise CqError(f"the process supervisor ended, and every process with it: see {system.run_dir}/supervisord.log")
    except asyncio.CancelledError:
        console.print("stopping …")
    finally:
        system.stop()


async def _show_status(system: LocalSystem) -> None:
    """Print what `cq status` does as soon as a gateway leads, or after a while who is missing."""
    os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
    settings = load_settings(BrokerSettings)
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + FIRST_STATUS_LIMIT_S * NS_PER_S
    async with open_desk(settings, client_name="cq-up") as desk:
        while True:
            content = await read_status(desk, settings)
            check_refusals(system.supervisor)
            if content["leader"] or SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
                print_status(content)
                return
            await SYSTEM_CLOCK.sleep(0.2)


def simulator(context: typer.Context) -> None:
    """Run the simulated exchange alone; it speaks the TWS protocol. Arguments: `cq simulator --help`."""
    arguments = [sys.executable, "-m", "services.simulator", *context.args]
    os.execv(sys.executable, arguments)  # noqa: S606 - becomes the simulator; no shell is involved
