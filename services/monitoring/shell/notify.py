"""Carry alerts to people through apprise (mail, chat, push), apart from everything else.

A slow or dead notification service delays nothing: alerts wait in a bounded queue, each is tried a few times and then
counted as failed. The alert itself stands on the `alerts` stream and on the page in any case.
"""

from __future__ import annotations

import asyncio

import apprise

from services.monitoring.metrics import NOTIFY_FAILED
from shared.clock import Clock
from shared.errors import ConfigError
from shared.logs import get_logger
from shared.messages.control import Alert

QUEUE_LENGTH = 200
_TRIES = 3
_KINDS = {
    "info": apprise.NotifyType.INFO,
    "warning": apprise.NotifyType.WARNING,
    "error": apprise.NotifyType.FAILURE,
}


class AppriseNotifier:
    """Sends alerts of severity warning and error to every URL; info stays on the page.

    Args:
        urls: apprise URLs, comma or space separated.
        title: what the messages begin with, e.g. the mode and deployment.

    Raises:
        ConfigError: a URL is not understood (its text is not shown: it holds secrets).
    """

    def __init__(self, urls: str, title: str, clock: Clock) -> None:
        self._title = title
        self._clock = clock
        self._queue: asyncio.Queue[Alert] = asyncio.Queue(QUEUE_LENGTH)
        self._services = apprise.Apprise()
        for number, url in enumerate(urls.replace(",", " ").split(), 1):
            if not self._services.add(url):
                kind = url.partition("://")[0][:20]
                raise ConfigError(f"CQ_ALERT_URLS: address {number} ({kind}://…) is no apprise URL")

    def offer(self, alert: Alert) -> None:
        """Queue an alert; when the queue is full it is only counted, the page has it."""
        if alert.severity == "info":
            return
        try:
            self._queue.put_nowait(alert)
        except asyncio.QueueFull:
            NOTIFY_FAILED.inc()

    async def run(self) -> None:
        """Send what is queued, for ever."""
        while True:
            alert = await self._queue.get()
            for attempt in range(_TRIES):
                if await self._sent(alert):
                    break
                await self._clock.sleep(2.0**attempt)
            else:
                NOTIFY_FAILED.inc()
                get_logger().warning("notification.failed", alert_id=alert.alert_id)

    async def _sent(self, alert: Alert) -> bool:
        ended = "over: " if alert.is_cleared else ""
        kind = apprise.NotifyType.SUCCESS if alert.is_cleared else _KINDS[alert.severity]
        return bool(
            await self._services.async_notify(
                title=f"{self._title}: {ended}{alert.alert_id}", body=f"{ended}{alert.text}", notify_type=kind
            )
        )
