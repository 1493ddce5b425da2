"""The error tree: whose fault it is, and what happens next.

```
CqError
├─ ConfigError        refuse to start, exit 78; carries every mistake at once
├─ TransientError     retry with backoff
│  ├─ BusUnavailable     Redis is away, loading, or does not answer
│  ├─ GroupMissing       a consumer group is gone: make it again
│  ├─ BrokerUnavailable  no READY session with the broker
│  └─ TimedOut           an answer did not come within its limit
├─ BadInput           dead-letter the entry, go on
│  ├─ DecodeError        bytes that do not mean a message
│  ├─ UnknownVersion     a message of a release newer than ours
│  └─ UnknownContract    a name or conId nobody can resolve
├─ Refused            an answer, not an accident: carried in messages, raised only to the SDK's caller
│  ├─ RiskRejected  BrokerRejected  PacingRefused  ModeMismatch
├─ Fenced             we are not the leader any more: step down, write nothing
├─ OutcomeUnknown     it may have happened: never retry blindly, resolve by evidence
└─ InvariantBroken    a bug: log with state, exit 70, the supervisor restarts us
```

Exit codes follow BSD `sysexits.h`, so that scripts and supervisors can tell the cases apart.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Stable exit codes of every command and service (BSD `sysexits.h` where one fits)."""

    OK = 0
    FAILED = 1
    USAGE = 64
    BAD_DATA = 65
    UNAVAILABLE = 69
    INTERNAL = 70
    TIMED_OUT = 75
    REFUSED = 77
    CONFIG = 78

    @property
    def meaning(self) -> str:
        """Return what it tells a script, in a sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "Done; of a check or a demo also: everything is as it should be.",
    ExitCode.FAILED: "It ran, and the answer is no: the books do not add up, a replay differs, or a person said no.",
    ExitCode.USAGE: "The command line is wrong: a command, an option or an argument that does not exist or is missing.",
    ExitCode.BAD_DATA: "What was given cannot be used: a number, a contract, a time, a file.",
    ExitCode.UNAVAILABLE: "Redis, the broker or a service is away, or a check found something wrong.",
    ExitCode.INTERNAL: "A bug of ours: please report it with the log.",
    ExitCode.TIMED_OUT: "Nobody answered in time; what was asked for may still happen: look before you ask again.",
    ExitCode.REFUSED: "Risk, the gateway or the broker said no; the sentence has who, the code and the reason.",
    ExitCode.CONFIG: "Settings are wrong or missing, all of them named at once; nothing was started.",
}


CLICK_USAGE = 2
"""What a command line library exits with after it has explained a wrong line; no command of ours does."""


class CqError(Exception):
    """Base of every error this system raises on purpose; its text is one sentence for people."""

    exit_code: ExitCode = ExitCode.FAILED


class ConfigError(CqError):
    """Refuse to start; `mistakes` holds one sentence per wrong setting, each naming its variable."""

    exit_code = ExitCode.CONFIG

    def __init__(self, mistakes: list[str] | str) -> None:
        self.mistakes = [mistakes] if isinstance(mistakes, str) else list(mistakes)
        super().__init__("; ".join(self.mistakes))


class TransientError(CqError):
    """Something outside is away for now; the same call may succeed later."""

    exit_code = ExitCode.UNAVAILABLE


class BusUnavailable(TransientError):
    """Redis cannot be reached, is loading, or did not answer in time."""


class GroupMissing(TransientError):
    """A consumer group is not on the server (new, or lost with its data): make it again and read on."""


class BrokerUnavailable(TransientError):
    """No READY session with the broker."""


class TimedOut(TransientError):
    """An answer did not come within its limit; what was asked may still happen."""

    exit_code = ExitCode.TIMED_OUT


class BadInput(CqError):
    """Input that cannot be used; it is dead-lettered for its content and nothing else stops."""

    exit_code = ExitCode.BAD_DATA


class DecodeError(BadInput):
    """Bytes or fields that do not mean a message."""


class UnknownVersion(BadInput):
    """A message whose version this release does not know."""


class UnknownContract(BadInput):
    """A contract name or conId that cannot be resolved to exactly one contract.

    `candidates` lists how to write each contract that the name could mean.
    """

    def __init__(self, message: str, candidates: list[str] | None = None) -> None:
        super().__init__(message)
        self.candidates = candidates or []


class Refused(CqError):
    """An answer of no, with a stable `code` that says who refused."""

    exit_code = ExitCode.REFUSED

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class RiskRejected(Refused):
    """Risk said no."""


class BrokerRejected(Refused):
    """The broker said no."""


class PacingRefused(Refused):
    """Our own pacing budget is used up and its bounded queue is full."""


class ModeMismatch(Refused):
    """Paper, live and sim would have met (P8)."""


class Fenced(CqError):
    """A newer epoch or another incarnation exists: step down and write nothing."""


class OutcomeUnknown(CqError):
    """The act may or may not have happened; it is never repeated, only resolved by evidence."""


class InvariantBroken(CqError):
    """A bug of ours, found by ourselves."""

    exit_code = ExitCode.INTERNAL
