"""The page as a browser draws it: nothing runs over the edge, on a desk and on a phone, light and dark."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial

import pytest

from services.monitoring.core.views import StatusView
from services.monitoring.shell.controls import Controls
from services.monitoring.shell.web import Page, page_server
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.health import Health
from shared.messages import decode_fields
from shared.messages.account import PnlReport, PositionReport
from shared.messages.control import Alert, Control, HaltStatus
from shared.messages.market import Bar, ContractInfo
from shared.messages.orders import Decision, Fill, Intent, OrderEvent, OrderLeg, OrderState, OrderType, Side
from tests.support import eventually
from tools.browser import binary, open_page

pytestmark = [pytest.mark.process, pytest.mark.skipif(binary() is None, reason="no browser here")]
NAMES = {1: "AAPL@NASDAQ", 2: "GOOGL@NASDAQ", 3: "SAP@IBIS:EUR", 4: "SAP@FWB:EUR"}
LONG = "an order of 1000000 is above the limit of 1000 per order, which the file limits.toml sets for every strategy"
S = 1_000_000_000
DRAWN = "document.querySelectorAll('#fills tr').length > 2 && document.querySelectorAll('#chart canvas').length > 0"
OVER_THE_EDGE = """(() => { const edge = document.documentElement.clientWidth + 1;
  return [...document.querySelectorAll('body *')].filter((one) => !one.closest('#chart, table')
    && one.getBoundingClientRect().right > edge).map((one) => one.id || one.className || one.tagName); })()"""
CUT_TABLES = """[...document.querySelectorAll('section > div')].filter((one) => one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.id)"""


def busy_view() -> StatusView:
    """Return a view with something long in every panel."""
    view = StatusView("sim", "sim")
    now_ns = SYSTEM_CLOCK.wall_ns()
    view.apply(HaltStatus(stage="none"))  # type: ignore[arg-type]
    view.apply(PnlReport(account="DUSIM0001", daily=Decimal("-123456.78"), unrealized=Decimal(1), realized=Decimal(2)))
    view.apply(Alert(alert_id="x", severity="error", text=LONG))
    view.heartbeats = [
        {"service": "gateway", "instance": "gateway-1", "role": "leader", "epoch": 1795712515094485, "pid": 1234567,
         "link": "DEGRADED", "link_reason": f"1100: {LONG}", "ready": False, "failed": {"link": LONG}, "started_ns": 1},
        {"service": "strategy", "instance": "strategy-1", "pid": 2, "ready": True, "failed": {}, "started_ns": now_ns},
    ]  # fmt: skip
    view.strategies = [
        {"unit": f"mean_reversion/{name}", "owner": "strategy-1", "state": "running", "names": [name], "lag": 0.123,
         "strategy": "mean_reversion", "paused": "results day" if con_id == 2 else "",
         "working": 2, "error": LONG}
        for con_id, name in NAMES.items()
    ]  # fmt: skip
    for con_id, name in NAMES.items():
        view.apply(
            ContractInfo(con_id=con_id, name=name, symbol=name[:4], sec_type="STK", exchange="SMART", currency="USD")
        )
        price = {"bid": "1234.57", "ask": "1234.58", "last": "1234.57", "volume": "123456789", "quality": "DELAYED"}
        view.prices.append({"con_id": con_id, "contract": name, **price})
        view.apply(
            PositionReport(account="DUSIM0001", con_id=con_id, position=Decimal(-1000), average_cost=Decimal(150))
        )
        leg = OrderLeg(
            side=Side.BUY, quantity=Decimal(1000), order_type=OrderType.LIMIT, limit_price=Decimal("12345.67")
        )
        intent = f"{con_id:020d}"
        view.apply(
            Intent(
                intent_id=intent, legs=(leg,), con_id=con_id, strategy="mean_reversion", account="DUSIM0001",
                valid_until_ns=now_ns, ts_init_ns=now_ns,
            )
        )  # fmt: skip
        view.apply(Decision(intent_id=intent, approved=False, code="RISK_ORDER_QUANTITY_MAX", text=LONG))
        view.apply(
            OrderEvent(
                order_ref=intent, state=OrderState.REJECTED, code="IB_201", strategy="mean_reversion", con_id=con_id,
                account="DUSIM0001", side=Side.BUY, quantity=Decimal(1000), order_type="LMT", ts_init_ns=now_ns,
            )
        )  # fmt: skip
        for number in range(90):
            opened_ns = (now_ns // S // 5 * 5 - 5 * number) * S
            first, high, low, last = (Decimal(100 + number + more) for more in (0, 2, -2, 1))
            view.apply(
                Bar(
                    con_id=con_id, interval="5s", ts_open_ns=opened_ns, ts_close_ns=opened_ns + 5 * S, open=first,
                    high=high, low=low, close=last, volume=Decimal(1),
                )
            )  # fmt: skip
            view.apply(
                Fill(
                    exec_id=f"{con_id}.{number}.01", exec_stem=f"{con_id}.{number}", strategy="mean_reversion",
                    account="DUSIM0001", con_id=con_id, side=Side.BUY, quantity=Decimal(1000), price=last,
                    ts_event_ns=opened_ns,
                )
            )  # fmt: skip
    return view


TOKEN = "correct-horse-battery"


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(MemoryServer(), Keys("sim"))


@pytest.fixture
async def address(bus: MemoryBus) -> AsyncIterator[str]:
    controls = Controls(bus, source="monitoring:test", clock=SYSTEM_CLOCK, resume_word=lambda: "lunch")
    page = Page(busy_view(), Health(ready={}), clock=SYSTEM_CLOCK, controls=controls, token=TOKEN)
    server = page_server(page, host="127.0.0.1", port=0)
    await server.start()
    yield f"http://127.0.0.1:{server.port}/"
    await server.stop()


async def test_it_fits_a_desk_and_a_phone_light_and_dark(address: str) -> None:
    async with open_page() as page:
        colours = set()
        for width, is_dark in ((1280, False), (390, False), (1280, True), (390, True)):
            await page.size(width, 900, is_dark=is_dark)
            await page.open(address, DRAWN)
            assert await page.value(OVER_THE_EDGE) == [], width
            if width == 1280:
                assert await page.value(CUT_TABLES) == []
            mode = "document.getElementById('mode')"
            assert await page.value(f"{mode}.textContent") == "SIMULATED"
            assert float(await page.value(f"parseFloat(getComputedStyle({mode}).fontSize)")) >= 22
            await page.value("window.scrollTo(0, 1200)")
            top = await page.value(f"{mode}.getBoundingClientRect().top")
            assert 0 <= top < 50, "SIMULATED stays in sight"
            colours.add(await page.value("getComputedStyle(document.body).backgroundColor"))
        assert len(colours) == 2
        shown = await page.value(
            "[...document.querySelectorAll('#positions td:first-child')].map((one) => one.textContent)"
        )
        assert shown == ["AAPL", "GOOGL", "SAP@IBIS:EUR", "SAP@FWB:EUR"], "the exchange only where a name is not unique"
        await page.open(address, f"{DRAWN} && document.getElementById('chart-note').textContent.includes('fills')")
        note = await page.value("document.getElementById('chart-note').textContent")
        assert "90 fills" in note, "of all bars that are drawn, not only of the list's last"


async def test_its_buttons_write_what_they_say(address: str, bus: MemoryBus) -> None:
    async with open_page() as page:
        await page.size(1280, 900)
        await page.open(address, DRAWN)
        await page.value(f"window.prompt = () => 'lunch'; document.getElementById('token').value = '{TOKEN}'")
        for number, press in enumerate(
            (
                "document.getElementById('halt').click()",
                "document.getElementById('handover').click()",
                "document.getElementById('resume').click()",
                "document.querySelectorAll('#strategies button')[0].dispatchEvent(new PointerEvent('pointerdown'))",
                "document.querySelectorAll('#strategies button')[1].dispatchEvent(new PointerEvent('pointerdown'))",
            )
        ):
            await page.value(press)
            await eventually(partial(_written, bus, number + 1), 20)
    entries = await bus.read_range(bus.keys.control)
    given = [decode_fields(entry.fields).message for entry in entries]
    shown = [(one.action.value, one.scope, one.reason) for one in given if isinstance(one, Control)]
    assert shown == [
        ("halt", "account", "lunch"),
        ("handover", "account", "lunch"),
        ("resume", "account", "lunch"),
        ("pause_strategy", "strategy:mean_reversion", "lunch"),
        ("resume_strategy", "strategy:mean_reversion", "lunch"),
    ]


async def _written(bus: MemoryBus, count: int) -> bool:
    return await bus.stream_length(bus.keys.control) >= count
