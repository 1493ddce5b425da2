"""Put the groups of commands together."""

from __future__ import annotations

import typer

from copilot_quant.cli import (
    again,
    audit,
    backup,
    closing,
    control,
    history,
    limits,
    looking,
    making,
    paper,
    preflight,
    replay,
    running,
    strategies,
    trading,
    trial,
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
for module in (
    running,
    making,
    trial,
    looking,
    strategies,
    history,
    replay,
    again,
    trading,
    closing,
    control,
    limits,
    audit,
    backup,
    troubleshooting,
    preflight,
    paper,
):
    module.add_to(app)
