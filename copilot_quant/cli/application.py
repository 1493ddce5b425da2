"""Put the groups of commands together."""

from __future__ import annotations

import typer

from copilot_quant.cli import (
    backup,
    control,
    history,
    limits,
    looking,
    replay,
    running,
    strategies,
    trading,
    troubleshooting,
)

app = typer.Typer(
    name="cq",
    help="Automated trading through Interactive Brokers: standby gateways, risk-checked orders, nothing sent twice.\n\n"
    "Start with `cq demo` (no account needed). In a second terminal: `cq status`, `cq positions`, `cq tail fills`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for module in (running, looking, strategies, history, replay, trading, control, limits, backup, troubleshooting):
    module.add_to(app)
