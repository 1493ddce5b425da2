"""`cq limits`: what is allowed now, what a limits file would change, and the change itself, audited."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from copilot_quant.cli.output import JsonOption, console, print_json, print_table
from copilot_quant.cli.session import is_live, operator_settings, until, with_desk
from copilot_quant.desk import Desk
from services.risk.core.ceiling import above_ceiling, differences
from services.risk.core.limits import RULES_VERSION, Limits
from services.risk.core.limits_file import ALL_LIMITS, as_text, parse_limits
from services.risk.core.profiles import PROFILES, staged
from services.risk.core.rules import RULES
from services.risk.settings import RiskSettings
from shared.errors import ConfigError, ExitCode, Refused
from shared.messages.control import ControlAction
from shared.settings import BrokerSettings, load_settings

FileArgument = Annotated[
    Path | None, typer.Argument(help="A limits file; without it the one that RISK_LIMITS_FILE names.")
]
ANSWER_S = 10.0


def add_to(app: typer.Typer) -> None:
    """Add the group of commands of this file."""
    group = typer.Typer(help="Show, check, compare and change what risk allows.", no_args_is_help=True)
    for command in (show, check, diff, apply):
        group.command(command.__name__)(command)
    app.add_typer(group, name="limits")


@dataclass(frozen=True, slots=True)
class Draft:
    """A limits file as it was read."""

    text: str
    source: str
    limits: Limits


def read_draft(path: Path | None, settings: RiskSettings) -> Draft:
    """Return a limits file, checked; without a path the one of the settings, or the bare profile.

    Raises:
        ConfigError: it cannot be read, has mistakes or is above the ceiling; everything at once.
    """
    path = path or settings.limits_file
    source = str(path or "profile")
    try:
        text = path.read_text(encoding="utf-8") if path is not None else ""
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError([f"{source!r} cannot be read ({e})"]) from e
    limits = parse_limits(text, source=source, environment=settings.guide_limits)
    mistakes = above_ceiling(limits, settings.read_ceiling())
    if mistakes:
        raise ConfigError([f"{source}: {mistake}" for mistake in mistakes])
    return Draft(text, source, staged(limits, settings.stage))


def only_warning(limits: Limits) -> list[str]:
    """Return the rules that are newer than the set the limits were checked against: they only warn."""
    return [rule.code for rule in RULES if rule.since > limits.rules_version]


async def in_force(desk: Desk, settings: RiskSettings) -> tuple[Limits, dict[str, str]]:
    """Return the limits that risk shows, and who set them.

    Raises:
        Refused: no risk service has shown any yet.
    """
    shown = {name: value.decode() for name, value in (await desk.bus.hash_get_all(desk.keys.limits)).items()}
    if "text" not in shown:
        raise Refused("RISK_NOT_READY", "no risk service has shown its limits yet: is it running?")
    limits = parse_limits(shown["text"], source="limits in force", environment=settings.guide_limits)
    return staged(limits, settings.stage), shown


def show(as_json: JsonOption = False) -> None:
    """Show every limit in force, its profile's value where it differs, and who set it."""

    async def act(desk: Desk, _: BrokerSettings) -> tuple[Limits, dict[str, str]]:
        return await in_force(desk, load_settings(RiskSettings))

    limits, shown = with_desk(act)
    profile = PROFILES[limits.profile]
    tables = {"strategies": limits.strategies, "contracts": limits.contracts, "asset_classes": limits.asset_classes}
    if as_json:
        print_json(
            {
                "profile": limits.profile,
                "stage": str(limits.stage),
                "rules": limits.rules_version,
                "only_warning": only_warning(limits),
                "source": shown.get("source", ""),
                "who": shown.get("who", ""),
                "reason": shown.get("reason", ""),
                "limits": _texts({name: getattr(limits.base, name) for name in ALL_LIMITS}),
                **{kind: {owner: _texts(table) for owner, table in owners.items()} for kind, owners in tables.items()},
            }
        )
        return
    rows = []
    for name in ALL_LIMITS:
        value, default = as_text(getattr(limits.base, name)), as_text(getattr(profile, name))
        rows.append([name, value, "" if value == default else default])
    print_table(f"limits in force ({shown.get('source', '')})", ["limit", "value", limits.profile], rows, empty="")
    for kind, owners in tables.items():
        for owner, table in owners.items():
            console.print(f"[{kind}.{owner}]", markup=False, style="bold")
            for name, text in _texts(table).items():
                console.print(f"  {name} = {text}", markup=False)
    _note_warnings(limits)


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {name: as_text(value) for name, value in values.items()}


def _note_warnings(limits: Limits) -> None:
    newer = only_warning(limits)
    if newer:
        console.print(
            f"{len(newer)} rules are newer than this file and only warn: {', '.join(newer)}. "
            f"Look at them, then write rules = {RULES_VERSION} at its top.",
            style="yellow",
        )


def check(path: FileArgument = None, as_json: JsonOption = False) -> None:
    """Check a limits file: every mistake at once with its line, the ceiling, and rules that would only warn."""
    operator_settings()
    draft = read_draft(path, load_settings(RiskSettings))
    profile = draft.limits.profile
    found = differences(Limits(base=PROFILES[profile], profile=profile), draft.limits)
    if as_json:
        print_json({"source": draft.source, "profile": profile, "differences": found})
        return
    console.print(f"{draft.source}: fine; profile {profile} with {len(found)} differences")
    _note_warnings(draft.limits)


def diff(path: FileArgument = None, as_json: JsonOption = False) -> None:
    """Show what a limits file would change of what is in force now."""

    async def act(desk: Desk, _: BrokerSettings) -> list[str]:
        settings = load_settings(RiskSettings)
        draft = read_draft(path, settings)
        return differences((await in_force(desk, settings))[0], draft.limits)

    lines = with_desk(act)
    if as_json:
        print_json(lines)
    else:
        console.print("\n".join(lines) or "nothing would change", markup=False)


def apply(
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit stream `control`.")],
    path: FileArgument = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a limits file into force now: audited in `control`, never above the ceiling, kept over restarts.

    A start takes RISK_LIMITS_FILE again once that file was edited after this.
    """

    async def act(desk: Desk, settings: BrokerSettings) -> dict[str, str]:
        risk = load_settings(RiskSettings)
        draft = read_draft(path, risk)
        changes = differences((await in_force(desk, risk))[0], draft.limits)
        if not changes:
            return {"answer": "unchanged", "changes": ""}
        if not yes and not as_json:
            console.print("\n".join(changes), markup=False)
            where = f"LIVE account {settings.account}" if is_live(settings) else settings.account
            typer.confirm(f"Change these limits of {where}?", abort=True)
        return await _asked(desk, draft, changes, reason)

    answer = with_desk(act)
    if as_json:
        print_json(answer)
    else:
        console.print(f"limits {answer['answer']}\n{answer.get('mistakes') or answer.get('changes', '')}", markup=False)
    if answer["answer"] == "refused":
        sys.exit(ExitCode.REFUSED)


async def _asked(desk: Desk, draft: Draft, changes: list[str], reason: str) -> dict[str, str]:
    act = await desk.control(
        ControlAction.LIMITS, who=getpass.getuser(), reason=reason, text=draft.text, changes=tuple(changes)
    )

    async def answered() -> dict[str, str] | None:
        shown = {name: value.decode() for name, value in (await desk.bus.hash_get_all(desk.keys.limits)).items()}
        if shown.get("control_id") != act.control_id:
            return None
        return {name: shown.get(name, "") for name in ("answer", "mistakes", "changes", "profile")}

    otherwise = "no risk service has answered: the change is in `control`, and taken when one leads"
    return await until(answered, ANSWER_S, otherwise)
