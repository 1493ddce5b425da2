"""List the instruments that exist by default; expiring ones are derived from the day of the start.

Source: conIds and names as published by IB for the well-known ones; futures and options have ids of our own, above
700,000,000, made from symbol and expiry so that they stay the same from day to day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from services.simulator.core.contracts import BondTerms, Instrument, MarketRule, Universe

PENNY = MarketRule(26, ((Decimal(0), Decimal("0.01")),))
SUB_PENNY = MarketRule(32, ((Decimal(0), Decimal("0.0001")), (Decimal(1), Decimal("0.01"))))
EURO = MarketRule(146, ((Decimal(0), Decimal("0.01")), (Decimal(100), Decimal("0.02"))))
FOREX = MarketRule(239, ((Decimal(0), Decimal("0.00005")),))
YEN = MarketRule(59, ((Decimal(0), Decimal("0.005")),))
QUARTER = MarketRule(67, ((Decimal(0), Decimal("0.25")),))
MILLI = MarketRule(2184, ((Decimal(0), Decimal("0.001")),))
"""Bonds, in percent of their face value; a unit is 1,000 dollars of it."""
OPTION = MarketRule(110, ((Decimal(0), Decimal("0.01")), (Decimal(3), Decimal("0.05"))))
RULES = (PENNY, SUB_PENNY, EURO, FOREX, YEN, QUARTER, OPTION, MILLI)

_STOCK_ORDERS = (
    "ACTIVETIM,AD,ADDONT,ADJUST,ALERT,ALGO,ALLOC,AON,AVGCOST,BASKET,COND,CONDORDER,DAY,DEACT,FOK,GAT,GTC,GTD,GTT,HID,"
    "IOC,LIT,LMT,LOC,MIDPX,MIT,MKT,MOC,MTL,NGCOMB,NODARK,NONALGO,OCA,OPG,PEGBENCH,REL,SCALE,SMARTSTG,SNAPMID,STP,STPLMT,TRAIL,"
    "TRAILLIT,TRAILLMT,TRAILMIT,WHATIF"
)
_PLAIN_ORDERS = "ACTIVETIM,ADJUST,ALERT,COND,DAY,FOK,GTC,GTD,IOC,LMT,MKT,OCA,STP,STPLMT,WHATIF"
_NASDAQ = ("SMART", "NASDAQ", "ARCA", "BATS", "IEX", "DRCTEDGE", "NYSE", "ISLAND")
_NYSE = ("SMART", "NYSE", "ARCA", "BATS", "IEX", "DRCTEDGE", "NASDAQ")
_ARCA = ("SMART", "ARCA", "NASDAQ", "BATS", "IEX", "DRCTEDGE", "NYSE")

# symbol, conId, primary exchange, name, price, volatility a year, usual size, industry, category, ISIN
_US_STOCKS: tuple[tuple[str, int, str, str, float, float, int, str, str, str], ...] = (
    ("AAPL", 265598, "NASDAQ", "APPLE INC", 232.0, 0.28, 400, "Technology", "Computers", "US0378331005"),
    ("MSFT", 272093, "NASDAQ", "MICROSOFT CORP", 428.0, 0.25, 300, "Technology", "Software", "US5949181045"),
    ("GOOGL", 208813719, "NASDAQ", "ALPHABET INC-CL A", 178.0, 0.30, 400, "Communications", "Internet", "US02079K3059"),
    ("GOOG", 208813720, "NASDAQ", "ALPHABET INC-CL C", 180.0, 0.30, 400, "Communications", "Internet", "US02079K1079"),
    ("AMZN", 3691937, "NASDAQ", "AMAZON.COM INC", 205.0, 0.32, 400, "Communications", "Internet", "US0231351067"),
    ("META", 107113386, "NASDAQ", "META PLATFORMS INC-CLASS A", 575.0, 0.35, 200, "Communications", "Internet",
     "US30303M1027"),
    ("TSLA", 76792991, "NASDAQ", "TESLA INC", 335.0, 0.55, 300, "Consumer, Cyclical", "Auto Manufacturers",
     "US88160R1014"),
    ("NVDA", 4815747, "NASDAQ", "NVIDIA CORP", 142.0, 0.50, 600, "Technology", "Semiconductors", "US67066G1040"),
    ("AMD", 4391, "NASDAQ", "ADVANCED MICRO DEVICES", 138.0, 0.50, 400, "Technology", "Semiconductors", "US0079031078"),
    ("INTC", 270639, "NASDAQ", "INTEL CORP", 24.5, 0.45, 2500, "Technology", "Semiconductors", "US4581401001"),
    ("NFLX", 15124833, "NASDAQ", "NETFLIX INC", 890.0, 0.35, 100, "Communications", "Internet", "US64110L1061"),
    ("IBM", 8314, "NYSE", "INTL BUSINESS MACHINES CORP", 222.0, 0.22, 200, "Technology", "Computers", "US4592001014"),
    ("BAC", 10098, "NYSE", "BANK OF AMERICA CORP", 46.5, 0.26, 3000, "Financial", "Banks", "US0605051046"),
    ("AIG", 61319701, "NYSE", "AMERICAN INTERNATIONAL GROUP", 76.0, 0.24, 500, "Financial", "Insurance",
     "US0268747849"),
    ("JPM", 1520593, "NYSE", "JPMORGAN CHASE & CO", 247.0, 0.24, 300, "Financial", "Banks", "US46625H1005"),
    ("GE", 498843743, "NYSE", "GENERAL ELECTRIC", 182.0, 0.30, 300, "Industrial", "Aerospace/Defense", "US3696043013"),
    ("F", 9599491, "NYSE", "FORD MOTOR CO", 11.2, 0.36, 6000, "Consumer, Cyclical", "Auto Manufacturers",
     "US3453708600"),
    ("XOM", 13977, "NYSE", "EXXON MOBIL CORP", 120.0, 0.24, 500, "Energy", "Oil&Gas", "US30231G1022"),
    ("KO", 8894, "NYSE", "COCA-COLA CO/THE", 63.5, 0.16, 900, "Consumer, Non-cyclical", "Beverages", "US1912161007"),
    ("DIS", 6459, "NYSE", "WALT DISNEY CO/THE", 114.0, 0.28, 400, "Communications", "Media", "US2546871060"),
)  # fmt: skip
_US_ETFS: tuple[tuple[str, int, str, str, float, float, int], ...] = (
    ("SPY", 756733, "ARCA", "SS SPDR S&P 500 ETF TRUST-US", 595.0, 0.15, 900),
    ("QQQ", 320227571, "NASDAQ", "INVESCO QQQ TRUST SERIES 1", 505.0, 0.20, 700),
    ("IWM", 9579970, "ARCA", "ISHARES RUSSELL 2000 ETF", 238.0, 0.22, 900),
    ("GLD", 51529211, "ARCA", "SPDR GOLD SHARES", 248.0, 0.15, 500),
)
_FOREX: tuple[tuple[str, str, int, float], ...] = (
    ("EUR", "USD", 12087792, 1.0850),
    ("GBP", "USD", 12087797, 1.2700),
    ("AUD", "USD", 14433401, 0.6500),
    ("USD", "JPY", 15016059, 150.00),
    ("USD", "CHF", 12087820, 0.8850),
    ("USD", "CAD", 15016062, 1.3950),
)
_INDICES: tuple[tuple[str, int, str, str, float, float], ...] = (
    ("SPX", 416904, "CBOE", "S&P 500 Stock Index", 5950.0, 0.15),
    ("NDX", 416843, "NASDAQ", "NASDAQ 100 Stock Index", 20750.0, 0.20),
    ("VIX", 13455763, "CBOE", "CBOE Volatility Index", 16.0, 0.80),
)
_OPTIONS = {
    "SPY": 5, "AAPL": 4, "MSFT": 0, "GOOGL": 1, "AMZN": 2, "META": 3, "TSLA": 6, "NVDA": 7, "QQQ": 8, "IBM": 9,
}  # fmt: skip
"""Underlyings that have options, with the number that their conIds begin with."""
_STRIKES_EACH_SIDE = 8
_MONTH_CODES = "FGHJKMNQUVXZ"


# symbol, conId, CUSIP, name, price in percent, coupon, issue and maturity, ratings, kind, whether it is callable
_BONDS: tuple[tuple[str, int, str, str, float, float, str, str, str, str, bool], ...] = (
    ("US-T", 710_000_010, "912810TX6", "US TREASURY 4.25% 02/15/54", 92.5, 4.25, "20240215", "20540215", "AA1/NR",
     "US GOVERNMENT", False),
    ("US-T", 710_000_020, "91282CJZ5", "US TREASURY 4% 02/15/34", 97.8, 4.0, "20240215", "20340215", "AA1/NR",
     "US GOVERNMENT", False),
    ("AAPL", 710_000_030, "037833EV8", "APPLE INC 4.3% 05/10/33", 98.6, 4.3, "20230510", "20330510", "AAA/AA+",
     "CORPORATE", True),
    ("BAC", 710_000_040, "06051GLH0", "BANK OF AMERICA CORP 5.288% 04/25/34", 100.9, 5.288, "20230425", "20340425",
     "A1/A-", "CORPORATE", True),
)  # fmt: skip


def _bonds() -> Iterator[Instrument]:
    for symbol, con_id, cusip, name, price, coupon, issued, matures, ratings, kind, is_callable in _BONDS:
        yield Instrument(
            con_id=con_id, symbol=symbol, sec_type="BOND", currency="USD", primary_exchange="", exchanges=("SMART",),
            long_name=name, rule=MILLI, price=price, volatility=0.06, spread_ticks=40, size=250,
            local_symbol=f"IBCID{con_id}", trading_class=symbol, multiplier=Decimal(10), expiry=matures,
            order_types=_PLAIN_ORDERS, bond=BondTerms(cusip, coupon, issued, ratings, kind, is_callable),
        )  # fmt: skip


def default_universe(today: date) -> Universe:
    """Return everything listed on `today`."""
    instruments = [*_stocks(), *_others(), *_bonds(), *_futures(today)]
    for symbol, number in _OPTIONS.items():
        under = next(i for i in instruments if i.symbol == symbol)
        instruments.extend(_options(under, today, number))
    return Universe(instruments, RULES)


def _stocks() -> Iterator[Instrument]:
    for symbol, con_id, primary, name, price, volatility, size, industry, category, isin in _US_STOCKS:
        yield Instrument(
            con_id=con_id, symbol=symbol, sec_type="STK", currency="USD", primary_exchange=primary,
            exchanges=_NASDAQ if primary == "NASDAQ" else _NYSE, long_name=name,
            rule=SUB_PENNY if price < 20 else PENNY,
            price=price, volatility=volatility, size=size, industry=industry, category=category, subcategory=category,
            stock_type="COMMON", isin=isin, order_types=_STOCK_ORDERS,
            trading_class="NMS" if primary == "NASDAQ" else symbol,
        )  # fmt: skip
    for symbol, con_id, primary, name, price, volatility, size in _US_ETFS:
        yield Instrument(
            con_id=con_id, symbol=symbol, sec_type="STK", currency="USD", primary_exchange=primary, exchanges=_ARCA,
            long_name=name, rule=PENNY, price=price, volatility=volatility, size=size, spread_ticks=1.1,
            stock_type="ETF", order_types=_STOCK_ORDERS,
        )  # fmt: skip
    # Two listings of one symbol on SMART: without currency or exchange, SAP is ambiguous.
    yield Instrument(
        con_id=13015, symbol="SAP", sec_type="STK", currency="USD", primary_exchange="NYSE", exchanges=_NYSE,
        long_name="SAP SE-SPONSORED ADR", rule=PENNY, price=236.0, volatility=0.26, size=100, spread_ticks=4.0,
        industry="Technology", category="Software", subcategory="Software", stock_type="ADR", isin="US8030542042",
        order_types=_STOCK_ORDERS,
    )  # fmt: skip
    yield Instrument(
        con_id=14204, symbol="SAP", sec_type="STK", currency="EUR", primary_exchange="IBIS",
        exchanges=("SMART", "IBIS", "IBIS2", "FWB", "SWB"), long_name="SAP SE", rule=EURO, price=222.0,
        volatility=0.26, size=150, industry="Technology", category="Software", subcategory="Software",
        stock_type="COMMON", isin="DE0007164600", order_types=_STOCK_ORDERS, trading_class="XETRA", time_zone="MET",
        calendar="XETR",
    )  # fmt: skip


def _others() -> Iterator[Instrument]:
    for base, quote, con_id, price in _FOREX:
        yield Instrument(
            con_id=con_id, symbol=base, sec_type="CASH", currency=quote, primary_exchange="", exchanges=("IDEALPRO",),
            long_name=f"{base}.{quote}", rule=YEN if quote == "JPY" else FOREX, price=price, volatility=0.08,
            spread_ticks=1.2, size=1_000_000, local_symbol=f"{base}.{quote}", trading_class=f"{base}.{quote}",
            order_types=_PLAIN_ORDERS, calendar="24/5",
        )  # fmt: skip
    for symbol, con_id, exchange, name, price, volatility in _INDICES:
        yield Instrument(
            con_id=con_id, symbol=symbol, sec_type="IND", currency="USD", primary_exchange="", exchanges=(exchange,),
            long_name=name, rule=PENNY, price=price, volatility=volatility, size=0, time_zone="US/Central",
        )  # fmt: skip
    yield Instrument(
        con_id=495759171, symbol="ETH", sec_type="CRYPTO", currency="USD", primary_exchange="",
        exchanges=("PAXOS", "ZEROHASH"), long_name="Ethereum cryptocurrency", rule=PENNY, price=3400.0,
        volatility=0.75, spread_ticks=60, size=10, local_symbol="ETH.USD", trading_class="ETH", calendar="24/7",
        order_types=_PLAIN_ORDERS,
    )  # fmt: skip
    yield Instrument(
        con_id=479624278, symbol="BTC", sec_type="CRYPTO", currency="USD", primary_exchange="",
        exchanges=("PAXOS", "ZEROHASH"), long_name="Bitcoin cryptocurrency", rule=QUARTER, price=97000.0,
        volatility=0.60, spread_ticks=40, size=1, local_symbol="BTC.USD", trading_class="BTC", calendar="24/7",
        order_types=_PLAIN_ORDERS,
    )  # fmt: skip


def third_friday(year: int, month: int) -> date:
    """Return the usual expiry day of a month."""
    first = date(year, month, 1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)


def _upcoming(today: date, months: tuple[int, ...], count: int) -> list[date]:
    days: list[date] = []
    year, month = today.year, today.month
    while len(days) < count:
        if month in months and third_friday(year, month) >= today:
            days.append(third_friday(year, month))
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return days


def _futures(today: date) -> Iterator[Instrument]:
    rows = (
        ("ES", "E-mini S&P 500", Decimal(50), 5960.0, 0.15, Decimal(16500), Decimal(15000), 1),
        ("MES", "Micro E-Mini S&P 500 Stock Price Index", Decimal(5), 5960.0, 0.15, Decimal(1650), Decimal(1500), 2),
        ("NQ", "E-mini NASDAQ 100", Decimal(20), 20800.0, 0.20, Decimal(24200), Decimal(22000), 3),
    )
    for symbol, name, multiplier, price, volatility, initial, maintenance, number in rows:
        for day in _upcoming(today, (3, 6, 9, 12), 4):
            code = f"{symbol}{_MONTH_CODES[day.month - 1]}{day.year % 10}"
            yield Instrument(
                con_id=700_000_000 + number * 1_000_000 + (day.year % 100) * 1_000 + day.month * 10, symbol=symbol,
                sec_type="FUT", currency="USD", primary_exchange="", exchanges=("CME",), long_name=name, rule=QUARTER,
                price=price, volatility=volatility, size=40, local_symbol=code, trading_class=symbol,
                multiplier=multiplier, expiry=f"{day:%Y%m%d}", initial_margin=initial, maintenance_margin=maintenance,
                time_zone="US/Central", order_types=_PLAIN_ORDERS, calendar="CMES",
            )  # fmt: skip


def _options(under: Instrument, today: date, family: int) -> Iterator[Instrument]:
    step = 5.0 if under.price >= 100 else 1.0
    centre = round(under.price / step) * step
    for day in _upcoming(today, tuple(range(1, 13)), 4):
        for offset in range(-_STRIKES_EACH_SIDE, _STRIKES_EACH_SIDE + 1):
            strike = centre + offset * step
            for right in ("C", "P"):
                number = (day.toordinal() % 4000) * 2000 + int(strike) * 2 % 2000 + (right == "P")
                yield Instrument(
                    con_id=800_000_000 + family * 10_000_000 + number, symbol=under.symbol, sec_type="OPT",
                    currency="USD", primary_exchange="", exchanges=("SMART", "CBOE", "AMEX", "ISE", "PHLX"),
                    long_name=under.long_name, rule=OPTION, price=0.0, volatility=under.volatility, spread_ticks=2.0,
                    size=30, local_symbol=f"{under.symbol:<6}{day:%y%m%d}{right}{round(strike * 1000):08d}",
                    trading_class=under.symbol, multiplier=Decimal(100), expiry=f"{day:%Y%m%d}", strike=strike,
                    right=right, under_con_id=under.con_id, order_types=_PLAIN_ORDERS,
                )  # fmt: skip
