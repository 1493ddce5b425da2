"""Put the groups of commands together, and load only the one that was typed: all of them take seconds to import.

Each row of `PARTS` is a module, the heading its commands have in `cq --help`, and their names in its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import typer
from typer.models import CommandInfo, TyperInfo

RUN, LOOK, TRADE, GUARD = "Run", "Look", "Trade", "Check and repair"
STRATEGY, DATA = "Write and test strategies", "Records and imports"
PARTS: Sequence[tuple[str, str, Sequence[str]]] = (
    ("running", RUN, ("demo", "up", "simulator")),
    ("trial", RUN, ("run",)),
    ("control", RUN, ("halt", "kill", "resume", "gateway")),
    ("looking", LOOK, ("status", "orders", "fills", "account", "tail", "contract")),
    ("positions", LOOK, ("positions",)),
    ("strategies", LOOK, ("strategies",)),
    ("history", LOOK, ("history",)),
    ("trading", TRADE, ("order", "cancel")),
    ("closing", TRADE, ("close",)),
    ("limits", TRADE, ("limits",)),
    ("troubleshooting", GUARD, ("connect", "doctor")),
    ("preflight", GUARD, ("preflight",)),
    ("paper", GUARD, ("paper-check",)),
    ("reconcile", GUARD, ("reconcile", "accept")),
    ("backup", GUARD, ("backup", "restore")),
    ("making", STRATEGY, ("init", "new")),
    ("backtest", STRATEGY, ("backtest",)),
    ("replay", STRATEGY, ("replay",)),
    ("again", STRATEGY, ("replay-event",)),
    ("audit", DATA, ("audit", "explain")),
    ("imports", DATA, ("import",)),
)


def build_app(typed: Sequence[str] = ()) -> typer.Typer:
    """Return the application with the part that a command line needs; with all of them if no part of it is named."""
    app = typer.Typer(
        name="cq",
        help="Automated trading through Interactive Brokers: standby gateways, risk-checked orders, nothing sent "
        "twice.\n\nStart with `cq demo` (no account needed). In a second terminal: `cq status`, `cq positions`, "
        "`cq tail fills`.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    app.callback()(lambda: None)  # or a part with a single command would be the application itself
    wanted = [part for part in PARTS if typed and typed[0] in part[2]] or PARTS
    for module, heading, _ in wanted:
        import_module(f"copilot_quant.cli.{module}").add_to(app)
        shown: list[CommandInfo | TyperInfo] = [*app.registered_commands, *app.registered_groups]
        for info in shown:
            info.rich_help_panel = info.rich_help_panel or heading
    return app
