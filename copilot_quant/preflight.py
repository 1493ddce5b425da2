"""Judge the checklist before real money from what was gathered; asking and gathering are elsewhere.

Each judgement is one item of `shared.preflight.ITEMS` and says what it saw. What a new live deployment cannot have
shown yet (a month, a halt that was tried, rules that refused) counts from the paper deployment's own result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.clock import NS_PER_S, iso_utc
from shared.preflight import BY_KEY, DAY_NS, ITEMS, Entry, Result, State

PAPER_DAYS = 30
FROM_PAPER = ("paper_month", "emergency_stop", "rules_tested")
NEEDS_SYSTEM = "the system does not run here: `cq up`, then again"
SERVICES = ("gateway", "risk", "marketdata", "monitoring")


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """What a running system shows.

    Attributes:
        ready: services with a ready process.
        not_ready: sentences of those that are not.
        dead_letters: entries that nobody could read.
        unexplained: contracts whose books do not add up.
        pacing_errors: the broker's pacing codes of the last day.
        limits: what risk shows of its limits, in words; empty where it shows none.
        is_tiny: whether nothing is above the profile tiny-live.
        unprotected: contracts held without a working stop.
        positions: how many contracts are held.
        halted_ns: when a person last halted, 0 if never.
        resumed_ns: when a person last resumed, 0 if never.
        refusals: orders that risk refused, of those still on record.
    """

    ready: frozenset[str] = frozenset()
    not_ready: tuple[str, ...] = ()
    dead_letters: int = 0
    unexplained: tuple[str, ...] = ()
    pacing_errors: tuple[int, ...] = ()
    limits: str = ""
    is_tiny: bool = False
    unprotected: tuple[str, ...] = ()
    positions: int = 0
    halted_ns: int = 0
    resumed_ns: int = 0
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was gathered; `system` is None where none runs.

    Attributes:
        mode: sim, paper or live.
        stage: LIVE_STAGE.
        first_start_ns: when the paper deployment of this directory first started, 0 if it never did.
        leaks: files with credentials in them, or that others may read.
        api_is_open: whether the API answers at an outer address of its machine; None if that cannot be seen.
        has_alerts: whether CQ_ALERT_URLS is set.
        can_halt: whether the guard can be reached without Redis.
    """

    mode: str
    stage: str
    now_ns: int
    first_start_ns: int = 0
    leaks: tuple[str, ...] = ()
    api_is_open: bool | None = None
    has_alerts: bool = False
    can_halt: bool = False
    system: SystemFacts | None = None
    paper: Result | None = None
    answers: Mapping[str, Entry] = field(default_factory=dict)


Judgement = tuple[State, str]


def judge(facts: Facts, account: str) -> Result:
    """Return the checklist's result; what only a person knows is taken from the answers, else open."""
    entries = tuple(_entry(item.key, facts) for item in ITEMS)
    return Result(facts.mode, account, facts.now_ns, entries)


def _entry(key: str, facts: Facts) -> Entry:
    state, text = _JUDGES[key](facts) if key in _JUDGES else ("open", "")
    earlier = facts.paper.entry(key) if facts.paper is not None and key in FROM_PAPER else None
    if state != "ok" and earlier is not None and earlier.state == "ok" and facts.mode == "live":
        return Entry(key, "ok", "answered", earlier.at_ns, f"on paper: {earlier.text}")
    if state == "open":
        answer = facts.answers.get(key)
        if answer is not None:
            return answer
        return Entry(key, "open", "", facts.now_ns, text or BY_KEY[key].question)
    return Entry(key, state, "checked", facts.now_ns, text)


def _paper_month(facts: Facts) -> Judgement:
    if not facts.first_start_ns:
        return "open", ""
    days = (facts.now_ns - facts.first_start_ns) // DAY_NS
    text = f"the paper deployment of this directory began {days} days ago"
    return ("ok", text) if days >= PAPER_DAYS else ("bad", f"{text}, of {PAPER_DAYS}")


def _errors(facts: Facts) -> Judgement:
    system = facts.system
    if system is None:
        return "open", NEEDS_SYSTEM
    wrong = list(system.not_ready)
    wrong += [f"no {name} is ready" for name in SERVICES if name not in system.ready]
    if system.dead_letters:
        wrong.append(f"{system.dead_letters} dead letters (`cq tail dead-letter`)")
    wrong += [f"{name} does not add up (`cq positions`)" for name in system.unexplained]
    return ("bad", "; ".join(wrong)) if wrong else ("ok", "every service ready, nothing unreadable or unexplained")


def _pacing(facts: Facts) -> Judgement:
    if facts.system is None:
        return "open", NEEDS_SYSTEM
    if facts.system.pacing_errors:
        codes = ", ".join(map(str, facts.system.pacing_errors))
        return "bad", f"the broker complained of pacing within a day ({codes}): which other program uses this login?"
    if "gateway" not in facts.system.ready:
        return "open", "no gateway is ready"
    return "ok", "the gateway paces every message; the broker has not complained"


def _limits(facts: Facts) -> Judgement:
    if facts.system is None:
        return "open", NEEDS_SYSTEM
    return ("ok", facts.system.limits) if facts.system.limits else ("bad", "risk shows no limits: is it running?")


def _stops(facts: Facts) -> Judgement:
    system = facts.system
    if system is None or not system.positions:
        return "open", ""
    if system.unprotected:
        return "bad", f"held without a working stop: {', '.join(system.unprotected)}"
    return "ok", f"each of {system.positions} positions has a working stop"


def _credentials(facts: Facts) -> Judgement:
    return ("bad", "; ".join(facts.leaks)) if facts.leaks else ("ok", "none in the code; .env is readable by you alone")


def _api_access(facts: Facts) -> Judgement:
    if facts.api_is_open is None:
        return "open", ""
    if facts.api_is_open:
        text = "it answers at this machine's outer address: tick 'Allow connections from localhost only'"
        return "bad", text
    return "ok", "it answers at loopback only"


def _monitoring(facts: Facts) -> Judgement:
    if not facts.has_alerts:
        return "bad", "nobody would be told: set CQ_ALERT_URLS in .env"
    if facts.system is None:
        return "open", NEEDS_SYSTEM
    if "monitoring" not in facts.system.ready:
        return "bad", "no monitoring service is ready"
    return "ok", "monitoring runs and has somebody to tell"


def _emergency_stop(facts: Facts) -> Judgement:
    if facts.system is None:
        return "open", NEEDS_SYSTEM
    halted, resumed = facts.system.halted_ns, facts.system.resumed_ns
    if not halted:
        return "bad", "nobody ever tried it here: `cq halt --reason drill`, look, `cq resume --reason drill`"
    if resumed < halted:
        return "bad", f"halted at {iso_utc(halted // NS_PER_S * NS_PER_S)} and not resumed since"
    return "ok", f"halted at {iso_utc(halted // NS_PER_S * NS_PER_S)} by hand and resumed"


def _rules_tested(facts: Facts) -> Judgement:
    if facts.system is None:
        return "open", NEEDS_SYSTEM
    if not facts.system.refusals:
        return "bad", "risk refused nothing yet: order too much on purpose, on paper"
    return "ok", f"risk refused {facts.system.refusals} of the orders on record"


def _small_sizes(facts: Facts) -> Judgement:
    if facts.stage == "limited":
        return "ok", "LIVE_STAGE=limited: at most the profile tiny-live"
    if facts.stage == "observe":
        return "ok", "LIVE_STAGE=observe: nothing is opened; go on with limited"
    if facts.system is not None and facts.system.is_tiny:
        return "ok", "no limit is above the profile tiny-live"
    return "bad", "LIVE_STAGE=armed with limits above tiny-live: begin with LIVE_STAGE=limited"


def _manual_override(facts: Facts) -> Judgement:
    if facts.system is None:
        return "open", NEEDS_SYSTEM
    if not facts.can_halt:
        return "bad", "the guard's own port cannot be reached: a halt would depend on Redis"
    return "ok", "`cq halt`, `cq cancel`, `cq close` work here, and the guard holds without Redis"


_JUDGES: Mapping[str, Callable[[Facts], Judgement]] = {
    "paper_month": _paper_month,
    "errors": _errors,
    "pacing": _pacing,
    "limits": _limits,
    "stops": _stops,
    "credentials": _credentials,
    "api_access": _api_access,
    "monitoring": _monitoring,
    "emergency_stop": _emergency_stop,
    "rules_tested": _rules_tested,
    "small_sizes": _small_sizes,
    "manual_override": _manual_override,
}
"""The items that a program can see; the others are asked."""
