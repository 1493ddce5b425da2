"""Say what stands between a live deployment and its first entry (P8); nothing in other modes, and while it observes.

The account is not asked for here: without the account id typed into the settings, or with one of another kind than the
mode, nothing starts at all (`shared.settings.check_account`), and the gateway leaves a login that has not got it.
"""

from __future__ import annotations

from services.risk.core.limits import Stage
from shared.preflight import Result, missing

NO_FILE = "there is no limits file of your own: set RISK_LIMITS_FILE"


def unprepared(
    result: Result | None, *, stage: Stage, account: str, is_live: bool, has_limits_file: bool, began_ns: int
) -> tuple[str, ...]:
    """Return what is missing before entries, a sentence each.

    Args:
        result: what `cq preflight` stored, None where there is nothing that can be read.
        stage: an observing deployment needs nothing: it opens nothing.
        account: of the settings; a result for another one counts as none.
        is_live: whether real money is traded.
        has_limits_file: whether the settings name one; what is wrong in it is another rule's.
        began_ns: when this process began: a checklist may run out between two starts, not under a running system.
    """
    if not is_live or stage is Stage.OBSERVE:
        return ()
    left = missing(result, mode="live", account=account, now_ns=began_ns)
    return tuple(left if has_limits_file else [NO_FILE, *left])
