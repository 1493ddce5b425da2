"""Choose mode and settings for the guide's classes: their `paper_trading` flag, `.env`, and a system that runs here.

1. `paper_trading=True` is the paper mode, or sim where `CQ_MODE=sim` says so; it never reaches a live account.
2. `paper_trading=False` is the live mode. Looking needs no more; orders also need `CQ_MODE=live` (P8).
"""

from __future__ import annotations

import os
from pathlib import Path

from copilot_quant.local.run_file import RunningSystem, read_run_file
from shared.errors import ConfigError, ModeMismatch
from shared.settings import BrokerSettings, CommonSettings, Mode, load_settings

CURE = (
    "start TWS or IB Gateway and log in; File → Global Configuration → API → Settings: tick 'Enable ActiveX and Socket "
    "Clients', the port there must be the same; wait half a minute after the login. `cq connect` looks closer"
)
"""What to do where no TWS answers."""


def mode_of(*, paper_trading: bool) -> Mode:
    """Return the mode that the flag means here.

    Raises:
        ConfigError: `CQ_MODE` is no mode.
    """
    if not paper_trading:
        return Mode.LIVE
    if os.environ.get("CQ_MODE") or not system_of(Mode.SIM):
        chosen = load_settings(CommonSettings).mode
        return Mode.SIM if chosen is Mode.SIM else Mode.PAPER
    return Mode.SIM


def system_of(mode: Mode) -> RunningSystem | None:
    """Return the system that runs in this directory if it is of a mode and the environment names no other Redis."""
    system = None if os.environ.get("REDIS_URL") else read_run_file(Path.cwd())
    return system if system is not None and system.mode == mode.value else None


def running_system(mode: Mode) -> RunningSystem | None:
    """Return the system that runs in this directory.

    Raises:
        ModeMismatch: it has another mode.
    """
    system = None if os.environ.get("REDIS_URL") else read_run_file(Path.cwd())
    if system is not None and system.mode != mode.value:
        raise ModeMismatch(
            "FRONT_OTHER_MODE",
            f"a system in {system.mode} mode runs in this directory, and {mode} was asked for: stop it, or work in "
            "another directory",
        )
    return system


def settings_of_system(system: RunningSystem) -> BrokerSettings:
    """Return an operator's settings for a system that runs here."""
    return BrokerSettings(_env_file=None, **dict(system.env))  # type: ignore[arg-type]


def broker_settings(mode: Mode) -> BrokerSettings:
    """Return the settings of a mode, whatever `CQ_MODE` says; sim is where the system of this directory has it.

    Raises:
        ConfigError: something in the environment or `.env` is wrong.
    """
    system = system_of(Mode.SIM) if mode is Mode.SIM else None
    return settings_of_system(system) if system is not None else load_settings(BrokerSettings, CQ_MODE=mode.value)


def check_may_order(mode: Mode) -> None:
    """Let nobody trade real money by a flag in a script alone.

    Raises:
        ModeMismatch: live orders are asked for without `CQ_MODE=live`.
    """
    if mode is Mode.LIVE and load_settings(CommonSettings).mode is not Mode.LIVE:
        raise ModeMismatch(
            "FRONT_NOT_LIVE", "paper_trading=False trades real money: set CQ_MODE=live in .env as well if you mean it"
        )


def sentence(error: Exception) -> str:
    """Return one line for people."""
    if isinstance(error, ConfigError):
        return "settings: " + "; ".join(error.mistakes)
    return " ".join(str(error).split()) or type(error).__name__
