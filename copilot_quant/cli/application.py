"""Put the groups of commands together."""

from __future__ import annotations

import typer

from copilot_quant.cli import (
    again,
    audit,
    backtest,
    backup,
    closing,
    control,
    history,
    imports,
    limits,
    looking,
    making,
    paper,
    positions,
    preflight,
    reconcile,
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
    positions,
    strategies,
    history,
    backtest,
    replay,
    again,
    trading,
    closing,
    control,
    reconcile,
    imports,
    limits,
    audit,
    backup,
    troubleshooting,
    preflight,
    paper,
):
    module.add_to(app)
