"""Tell a leadership that ended as it may from a mistake."""

from __future__ import annotations

from shared.errors import ConfigError, Fenced, OutcomeUnknown, TransientError


def reason_of(group: BaseExceptionGroup[BaseException]) -> str:
    """Return why a leader's loops ended.

    Raises:
        BaseException: a mistake of ours or of the settings is among the reasons: the runtime has to say it.
    """
    flat: list[BaseException] = []
    todo: list[BaseException] = [group]
    while todo:
        each = todo.pop(0)
        if isinstance(each, BaseExceptionGroup):
            todo += each.exceptions
        else:
            flat.append(each)
    for each in flat:
        if not isinstance(each, Fenced | TransientError | OutcomeUnknown) or isinstance(each, ConfigError):
            raise each
    fenced = [each for each in flat if isinstance(each, Fenced)]
    return str((fenced or flat)[0])
