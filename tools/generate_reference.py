"""Write `docs/reference/` from the code: settings, streams and messages, metrics, risk rules, exit codes, protocol.

`python tools/generate_reference.py` writes the pages; `--check` only says which ones are out of date (exit status 1).
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from services.simulator.core.support import support_page  # noqa: E402 - the project's root has to be on the path first
from shared.bus.keys import Keys  # noqa: E402
from shared.errors import ExitCode  # noqa: E402
from shared.messages import REGISTRY  # noqa: E402
from shared.metrics import CATALOGUE  # noqa: E402
from shared.settings import BrokerSettings, CommonSettings  # noqa: E402
from tests.proofs.page import page as proofs_page  # noqa: E402

SOME_DAY_NS = 1_795_446_000_000_000_000
PAGES = ROOT / "docs" / "reference"
NOTE = "<!-- written by tools/generate_reference.py from the code: change the code, not this page -->\n\n"
SERVICES = ("gateway", "guard", "marketdata", "monitoring", "risk", "simulator", "strategy")


def first_sentence(text: str | None) -> str:
    """Return the first sentence of a docstring on one line."""
    return " ".join((inspect.cleandoc(text or "")).split("\n\n")[0].split())


def settings_classes() -> Iterator[tuple[str, type[CommonSettings]]]:
    """Yield every settings class with the name of its section."""
    yield "Every service and command", CommonSettings
    yield "The broker", BrokerSettings
    for service in SERVICES:
        module = importlib.import_module(f"services.{service}.settings")
        for _, found in inspect.getmembers(module, inspect.isclass):
            is_own = found.__module__ == module.__name__
            if is_own and issubclass(found, CommonSettings):
                yield service, found


def variable_of(name: str, field: FieldInfo) -> str:
    """Return the environment variable of a field, older names in brackets."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        first, *others = [str(choice) for choice in alias.choices]
        return f"`{first}`" + (f" (or `{'`, `'.join(others)}`)" if others else "")
    return f"`{alias}`" if isinstance(alias, str) else f"`{name}`"


def default_of(field: FieldInfo) -> str:
    """Return a field's default as text, empty where it is computed or secret."""
    if field.is_required():
        return "required"
    default = field.default
    shown = default.get_secret_value() if hasattr(default, "get_secret_value") else default
    if shown in (None, "", ()) or "Undefined" in str(shown):
        return ""
    return f"`{getattr(shown, 'value', shown)}`"


def settings_page() -> str:
    """Return the settings reference."""
    parts = [
        "# Settings\n\nEnvironment variables, or lines of `.env` (`CQ_ENV_FILE` names another file). `X_FILE` names a "
        "file that holds the value of `X`. Every mistake is reported at the start, all at once.\n"
    ]
    known: set[str] = set()
    for title, cls in settings_classes():
        rows = []
        for name, field in cls.model_fields.items():
            if name in known:
                continue
            known.add(name)
            rows.append(f"| {variable_of(name, field)} | {default_of(field)} | {field.description or ''} |")
        if title in SERVICES:
            known -= {name for name in cls.model_fields if name not in BrokerSettings.model_fields}
        if rows:
            head = f"\n## {title}\n\n| variable | default | meaning |\n|---|---|---|\n"
            parts.append(head + "\n".join(rows) + "\n")
    return "".join(parts)


def streams_page() -> str:
    """Return the reference of keys, streams and messages."""
    keys = Keys("sim")
    parts = [
        "# Keys, streams and messages\n\nShown for the deployment `sim`.\n\n",
        "## Keys\n\n| key | what it is |\n|---|---|\n",
    ]
    for name, member in inspect.getmembers(Keys):
        if name.startswith("_") or name in ("deployment", "tick_partitions", "partition", "heartbeat_pattern"):
            continue
        if isinstance(member, property):
            parts.append(f"| `{getattr(keys, name)}` | {first_sentence(member.__doc__)} |\n")
        elif inspect.isfunction(member):
            arguments = [f"<{argument}>" for argument in inspect.signature(member).parameters if argument != "self"]
            example = "cq:sim:" + name.replace("_", "-") + ":" + ":".join(arguments)
            try:
                example = member(keys, *arguments)
            except TypeError:
                pass  # a key of a number: the example above is its form
            parts.append(f"| `{example}` | {first_sentence(member.__doc__)} |\n")
    parts.append(
        "\n## Messages\n\nEvery `body` is msgpack: `v` (version) and these fields. Times are Unix nanoseconds UTC.\n"
    )
    for type_name, cls in sorted(REGISTRY.items()):
        parts.append(f"\n### `{type_name}` (version {cls.VERSION})\n\n{first_sentence(cls.__doc__)}\n\n")
        parts.append("| field | type |\n|---|---|\n")
        for field_name, field in cls.model_fields.items():
            kind = str(field.annotation).replace("typing.", "").replace("|", "or")
            kind = kind.removeprefix("<class '").removesuffix("'>").rsplit(".", 1)[-1] if "[" not in kind else kind
            parts.append(f"| `{field_name}` | {kind.replace('shared.messages.', '')} |\n")
    return "".join(parts)


def metrics_page() -> str:
    """Return the metrics reference."""
    for service in SERVICES:
        try:
            importlib.import_module(f"services.{service}.metrics")
        except ModuleNotFoundError as e:
            if e.name != f"services.{service}.metrics":
                raise
    rows = [
        f"| `{info.name}` | {info.kind} | {', '.join(info.labels)} | {info.text} |"
        for _, info in sorted(CATALOGUE.items())
    ]
    head = "# Metrics\n\nEach process serves them at `/metrics`.\n\n"
    head += "| name | kind | labels | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def rules_page() -> str:
    """Return the table of risk rules and of the other reject codes."""
    module = importlib.import_module("services.risk.core.rules")
    profiles = importlib.import_module("services.risk.core.profiles").PROFILES
    as_text = importlib.import_module("services.risk.core.limits_file").as_text

    def defaults(rule: Any) -> str:
        names = [name for name in rule.limit_name.split(", ") if name]
        values = [[as_text(getattr(profile, name)) for profile in profiles.values()] for name in names]
        return "<br>".join(f"`{name}`: {' / '.join(texts)}" for name, texts in zip(names, values, strict=True))

    rows = [
        f"| `{rule.code}` | {rule.scope} | {'hard' if rule.is_hard else 'warning'} | "
        f"{'yes' if rule.applies_to_reducing else 'no'} | {first_sentence(type(rule).__doc__)} | {defaults(rule)} | "
        f"{rule.since} | {rule.citation} |"
        for rule in module.RULES
    ]
    head = (
        "# Risk rules\n\nEvery rule is evaluated; a rejection lists all that failed, the decisive one first. "
        "A rule that does not apply to reducing orders never stops one. A hard rule may warn instead where its limit "
        f"is a choice. Defaults are those of the profiles {' / '.join(profiles)}; the column *set* is the set of rules "
        "it came with: under a limits file that names an older set it only warns. Users' own rules have codes that "
        "start with `USER_`.\n\n"
        "| code | scope | kind | reducing orders too | what it asks | limits and defaults | set | source |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def exit_codes_page() -> str:
    """Return the table of exit codes."""
    rows = [f"| {code.value} | {code.name.lower().replace('_', ' ')} | {code.meaning} |" for code in ExitCode]
    head = "# Exit codes\n\nThe same for every command and service, and stable.\n\n"
    return (
        head
        + "| status | name | meaning |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n\nCtrl-C ends a command with 130.\n"
    )


EVENT = re.compile(
    r"\.(debug|info|warning|error|exception)\(\s*\"([a-z_]+\.[a-z_]+)\"((?:,\s*[a-z_]+=)?[^)]*)", re.DOTALL
)


def events_page() -> str:
    """Return the list of log events, as the source writes them."""
    found: dict[str, tuple[set[str], set[str], set[str]]] = {}
    for folder in ("shared", "services", "copilot_quant"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for level, name, rest in EVENT.findall(path.read_text()):
                where, levels, fields = found.setdefault(name, (set(), set(), set()))
                parts = path.relative_to(ROOT).parts
                where.add(parts[1] if parts[0] == "services" else parts[0])
                levels.add("error" if level == "exception" else level)
                fields.update(re.findall(r"\b([a-z_]+)=", rest))
    rows = [
        f"| `{name}` | {', '.join(sorted(where))} | {', '.join(sorted(levels))} | {', '.join(sorted(fields))} |"
        for name, (where, levels, fields) in sorted(found.items())
    ]
    head = (
        "# Log events\n\nOne JSON object a line on stderr. Every event also carries `service`, `instance`, `mode`, "
        "`level` and `ts`; a leader's carry `epoch`. Account ids and secrets are masked.\n\n"
        "| event | written by | level | fields |\n|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def simulator_commands_page() -> str:
    """Return the list of commands that a running simulator takes."""
    engine = importlib.import_module("services.simulator.core.engine").Engine
    config = importlib.import_module("services.simulator.core.config").ExchangeConfig
    parts = [
        "# Commands of the simulator\n\nFor `cq simulator do NAME name=value …`, for `POST /commands/NAME` with the "
        "parameters as JSON, and for the steps of a scenario file ([how to](../how-to/simulator.md)).\n"
    ]
    group = ""
    for each in engine(config(), SOME_DAY_NS).commands.help():
        if each.group != group:
            group = each.group
            parts.append(f"\n## {group.capitalize()}\n\n| command | parameters | what it does |\n|---|---|---|\n")
        given = ", ".join(f"`{name}`" + (f" = {value}" if value else "") for name, value in each.parameters.items())
        parts.append(f"| `{each.name}` | {given} | {each.text} |\n")
    return "".join(parts)


def pages() -> dict[str, str]:
    """Return every page by file name."""
    return {
        "settings.md": NOTE + settings_page(),
        "streams.md": NOTE + streams_page(),
        "events.md": NOTE + events_page(),
        "metrics.md": NOTE + metrics_page(),
        "risk-rules.md": NOTE + rules_page(),
        "exit-codes.md": NOTE + exit_codes_page(),
        "simulator.md": NOTE + support_page(),
        "simulator-commands.md": NOTE + simulator_commands_page(),
        "proofs.md": proofs_page(),
    }


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    options = parser.parse_args()
    stale = []
    for name, text in pages().items():
        path = PAGES / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not options.check:
            path.write_text(text)
            print(f"wrote docs/reference/{name}")
    if options.check and stale:
        print(f"out of date: {', '.join(stale)}; run `make docs`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
