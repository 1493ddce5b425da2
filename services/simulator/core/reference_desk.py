"""Answer questions about contracts and the small fixed tables.

Source: ib-facts B.5, B.7.
"""

from __future__ import annotations

from dataclasses import replace

from services.simulator.core.contracts import NO_DEFINITION, Instrument, Listing, NotFound
from services.simulator.core.floor import Floor
from services.simulator.core.greeks import implied_volatility, years_left
from services.simulator.core.hours import Hours
from services.simulator.core.lines import computation
from services.simulator.core.sessions import Session
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from shared.tws.fields import TagValue

CUSTOM_OPTION_TICK = 53
_SMART = (("NASDAQ", "Q"), ("NYSE", "N"), ("ARCA", "P"), ("BATS", "Z"), ("IEX", "V"), ("DRCTEDGE", "K"))


class ReferenceDesk:
    """Contracts and tables."""

    def __init__(self, floor: Floor, hours: Hours) -> None:
        self._floor = floor
        self._hours = hours

    # -------------------------------------------------------------------------------------------- contracts
    def contract_details(self, session: Session, request: rq.ReqContractDetails) -> None:
        """Send every contract that fits, or error 200."""
        found = self._floor.universe.find(request.contract)
        if not found:
            self._floor.error(session.session, request.req_id, 200, NO_DEFINITION)
            return
        for listing in found:
            bond = listing.instrument.bond
            make = self._details if bond is None else self._bond_details
            self._floor.send(session.session, make(request.req_id, listing))
        self._floor.send(session.session, rs.ContractDetailsEnd(request.req_id))

    def _details(self, req_id: int, listing: Listing) -> rs.ContractDetails:
        instrument = listing.instrument
        under = self._floor.universe.by_id(instrument.under_con_id)
        hours = self._hours.text(instrument, self._floor.now_ns)
        return rs.ContractDetails(
            req_id=req_id,
            contract=instrument.contract(listing.exchange),
            last_trade_date_and_time=instrument.expiry,
            market_name=instrument.trading_class or instrument.symbol,
            min_tick=float(instrument.min_tick),
            order_types=instrument.order_types,
            valid_exchanges=",".join(instrument.exchanges),
            under_con_id=instrument.under_con_id,
            long_name=instrument.long_name,
            contract_month=instrument.expiry[:6],
            industry=instrument.industry,
            category=instrument.category,
            subcategory=instrument.subcategory,
            time_zone_id=instrument.time_zone,
            trading_hours=self._hours.text(instrument, self._floor.now_ns, extended=True),
            liquid_hours=hours,
            sec_id_list=(TagValue("ISIN", instrument.isin),) if instrument.isin else (),
            agg_group=1,
            under_symbol=under.symbol if under else "",
            under_sec_type=under.sec_type if under else "",
            market_rule_ids=",".join(str(instrument.rule.rule_id) for _ in instrument.exchanges),
            real_expiration_date=instrument.expiry,
            stock_type=instrument.stock_type,
        )

    def _bond_details(self, req_id: int, listing: Listing) -> rs.BondContractDetails:
        instrument, terms = listing.instrument, listing.instrument.bond
        assert terms is not None
        return rs.BondContractDetails(
            req_id=req_id,
            contract=replace(instrument.contract(listing.exchange), last_trade_date=""),
            cusip=terms.cusip,
            coupon=terms.coupon,
            maturity=instrument.expiry,
            issue_date=terms.issued,
            ratings=terms.ratings,
            bond_type=terms.kind,
            coupon_type="FIXED",
            callable=terms.is_callable,
            description_append=instrument.long_name,
            market_name=instrument.symbol,
            min_tick=float(instrument.min_tick),
            order_types=instrument.order_types,
            valid_exchanges=",".join(instrument.exchanges),
            long_name=instrument.long_name,
            market_rule_ids=",".join(str(instrument.rule.rule_id) for _ in instrument.exchanges),
            time_zone_id=instrument.time_zone,
            trading_hours=self._hours.text(instrument, self._floor.now_ns),
            liquid_hours=self._hours.text(instrument, self._floor.now_ns),
        )

    def matching_symbols(self, session: Session, request: rq.ReqMatchingSymbols) -> None:
        """Send the symbols that begin with a text or whose name contains it."""
        samples = tuple(
            rs.SymbolSample(
                each.con_id, each.symbol, each.sec_type, each.primary_exchange, each.currency,
                ("OPT",) if self._floor.universe.derivatives(each.con_id) else (), each.long_name,
            )
            for each in self._floor.universe.matching(request.pattern)
        )  # fmt: skip
        self._floor.send(session.session, rs.SymbolSamples(request.req_id, samples))

    def market_rule(self, session: Session, request: rq.ReqMarketRule) -> None:
        """Send a table of price increments."""
        rule = self._floor.universe.rules.get(request.rule_id)
        if rule is None:
            text = f"Error validating request.-'c5' : cause - Invalid market rule id {request.rule_id}"
            self._floor.error(session.session, request.rule_id, 321, text)
            return
        increments = tuple(rs.PriceIncrement(float(edge), float(step)) for edge, step in rule.increments)
        self._floor.send(session.session, rs.MarketRule(request.rule_id, increments))

    def option_parameters(self, session: Session, request: rq.ReqSecDefOptParams) -> None:
        """Send the expirations and strikes of an underlying."""
        options = self._floor.universe.derivatives(request.con_id)
        for name in dict.fromkeys(each.trading_class for each in options):
            chain = [each for each in options if each.trading_class == name]
            expirations = tuple(sorted({each.expiry for each in chain}))
            strikes = tuple(sorted({each.strike for each in chain}))
            for exchange in chain[0].exchanges:
                message = rs.SecDefOptParams(
                    request.req_id, exchange, request.con_id, name, "100", expirations, strikes
                )
                self._floor.send(session.session, message)
        self._floor.send(session.session, rs.SecDefOptParamsEnd(request.req_id))

    # -------------------------------------------------------------------------------------------- options
    def option_price(self, session: Session, request: rq.CalculateOptionPrice) -> None:
        """Compute an option's price from a volatility."""
        option = self._option(session, request.req_id, request.contract)
        if option is None:
            return
        volatility, under = float(request.volatility or 0), float(request.under_price or 0)
        years = years_left(option, self._floor.now_ns)
        message = computation(request.req_id, CUSTOM_OPTION_TICK, option, under, years, volatility, None)
        self._floor.send(session.session, message)

    def implied_volatility(self, session: Session, request: rq.CalculateImpliedVolatility) -> None:
        """Compute the volatility that gives a price."""
        option = self._option(session, request.req_id, request.contract)
        if option is None:
            return
        wanted, under = float(request.option_price or 0), float(request.under_price or 0)
        years = years_left(option, self._floor.now_ns)
        volatility = implied_volatility(wanted, under, option.strike, years, option.right)
        message = computation(request.req_id, CUSTOM_OPTION_TICK, option, under, years, volatility, wanted)
        self._floor.send(session.session, message)

    def _option(self, session: Session, req_id: int, contract: TwsContract) -> Instrument | None:
        found = self._floor.universe.resolve(contract)
        if isinstance(found, NotFound) or found.instrument.sec_type != "OPT":
            self._floor.error(session.session, req_id, 200, NO_DEFINITION)
            return None
        return found.instrument

    # -------------------------------------------------------------------------------------------- tables
    def depth_exchanges(self, session: Session, _: rq.ReqMktDepthExchanges) -> None:
        """Send the exchanges that offer depth."""
        rows = tuple(rs.DepthExchange(name, "STK", "", "Deep2", 2147483647) for name, _ in _SMART)
        self._floor.send(session.session, rs.MktDepthExchanges(rows))

    def smart_components(self, session: Session, request: rq.ReqSmartComponents) -> None:
        """Send what the letters of an exchange map stand for."""
        rows = tuple(rs.SmartComponent(bit, name, letter) for bit, (name, letter) in enumerate(_SMART))
        self._floor.send(session.session, rs.SmartComponents(request.req_id, rows))

    def family_codes(self, session: Session, _: rq.ReqFamilyCodes) -> None:
        """Send the account list without family codes."""
        codes = tuple(rs.FamilyCode(name, "") for name in self._floor.config.accounts)
        self._floor.send(session.session, rs.FamilyCodes(codes))

    def soft_dollar_tiers(self, session: Session, request: rq.ReqSoftDollarTiers) -> None:
        """Send an empty list."""
        self._floor.send(session.session, rs.SoftDollarTiers(request.req_id, ()))

    def user_info(self, session: Session, request: rq.ReqUserInfo) -> None:
        """Send no white branding."""
        self._floor.send(session.session, rs.UserInfo(request.req_id, ""))

    def verification(self, session: Session, _: rq.Request) -> None:
        """Refuse API verification."""
        self._floor.send(session.session, rs.VerifyCompleted(is_successful=False, error_text="not supported"))

    def verification_with_key(self, session: Session, _: rq.Request) -> None:
        """Refuse API verification with a key."""
        self._floor.send(session.session, rs.VerifyAndAuthCompleted(is_successful=False, error_text="not supported"))

    def nothing(self, session: Session, request: rq.Request) -> None:
        """Take a request that has no answer (log level, cancels of what is not running)."""
