"""Pin mode, account and deployment: they never mix (P8)."""

from __future__ import annotations

import re

from services.gateway.settings import GatewaySettings
from shared.bus.ports import Bus
from shared.errors import ConfigError
from shared.logs import get_logger

_ADVISOR = re.compile(r"D?F\d+")


class Accounts:
    """What the login may show: our account, no advisor; others are noted once."""

    def __init__(self, account: str) -> None:
        self._account = account
        self.others: tuple[str, ...] = ()

    def check(self, accounts: tuple[str, ...]) -> str:
        """Return why this login cannot be used, or nothing."""
        advisors = [account for account in accounts if _ADVISOR.fullmatch(account)]
        if advisors:
            return (
                f"the login manages advisor account {advisors[0]}: this system trades one plain account; log in TWS "
                "with a user of that account"
            )
        if self._account not in accounts:
            return (
                f"account {self._account} is not on this login (it has {', '.join(accounts) or 'none'}): is this the "
                "right TWS, and the right mode?"
            )
        others = tuple(account for account in accounts if account != self._account)
        if others != self.others:
            self.others = others
            get_logger().warning("accounts.ignored", accounts=list(others))
        return ""


async def check_identity(bus: Bus, settings: GatewaySettings) -> None:
    """Write the deployment's identity at its first start; refuse anything else ever after.

    Raises:
        ConfigError: Redis holds another mode, account or id under this deployment's name.
        BusUnavailable: Redis is away.
    """
    ours = {"mode": str(settings.mode), "account": settings.account, "id": settings.deployment_id}
    stored = {name: value.decode() for name, value in (await bus.hash_get_all(bus.keys.identity)).items()}
    if not stored:
        await bus.hash_set(bus.keys.identity, ours)
        stored = {name: value.decode() for name, value in (await bus.hash_get_all(bus.keys.identity)).items()}
    mistakes = [
        f"CQ_DEPLOYMENT: deployment {settings.deployment!r} on this Redis belongs to {name} {stored.get(name)!r}, not "
        f"{value!r}: choose another deployment name or another Redis"
        for name, value in ours.items()
        if stored.get(name) != value
    ]
    if mistakes:
        raise ConfigError(mistakes)
