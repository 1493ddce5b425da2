"""Rules on the state of the system: may anything new be sent at all, and do we know what it would be worth."""

from __future__ import annotations

from services.risk.core.case import Case
from services.risk.core.limits import LimitSet, Stage
from services.risk.core.quotes import DELAYED
from services.risk.core.rule import Finding, Rule, Scope, plain
from shared.ids import MANUAL, UNASSIGNED
from shared.money import ZERO


class LimitsBroken(Rule):
    """Without a readable limits file nothing new is approved."""

    code = "RISK_LIMITS_BROKEN"
    scope = Scope.SYSTEM
    citation = "P7, P10"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Look for mistakes in the limits file."""
        mistakes = case.limit_book.mistakes
        if not mistakes:
            return None
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        return Finding(f"the limits file cannot be used: {mistakes[0]}{more}")


class NotArmed(Rule):
    """A live deployment that only observes decides, shows what it would have sent, and opens nothing."""

    code = "RISK_NOT_ARMED"
    scope = Scope.SYSTEM
    limit_name = ""
    citation = "P8; LIVE_STAGE"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Look at the deployment's stage."""
        stage = case.limit_book.stage
        if stage is not Stage.OBSERVE:
            return None
        text = "this live deployment only observes: set LIVE_STAGE=limited, later armed, once cq limits show is right"
        return Finding(text, "limited or armed", stage)


class PreflightMissing(Rule):
    """A live deployment opens nothing without a limits file of its own and a complete checklist before real money."""

    code = "RISK_PREFLIGHT_MISSING"
    scope = Scope.SYSTEM
    citation = "P8; RTS 6 articles 5 to 8 (testing and deployment)"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Look at what is missing."""
        left = case.book.readiness.unprepared
        if not left:
            return None
        return Finding(f"live opens nothing while something is missing: {'; '.join(left)}", "0", str(len(left)))


class Halted(Rule):
    """While halted no order that adds exposure passes."""

    code = "RISK_HALTED"
    scope = Scope.ACCOUNT
    citation = "P6; RTS 6 article 12 (kill functionality); FIA: kill switch"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers."""
        reason = case.book.breakers.halted(case.intent.con_id, case.intent.strategy)
        return Finding(f"trading is halted: {reason}") if reason else None


class NotReady(Rule):
    """Nothing new before the gateway's leader has reconciled in this epoch and incarnation, and its link is READY."""

    code = "RISK_NOT_READY"
    scope = Scope.SYSTEM
    citation = "P7; docs/explanation/failover.md"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Ask what the gateway announced."""
        book = case.book
        reason = book.readiness.complaint(book.incarnation)
        return Finding(f"not ready: {reason}") if reason else None


class StrategyPaused(Rule):
    """A paused strategy opens nothing."""

    code = "RISK_STRATEGY_PAUSED"
    scope = Scope.STRATEGY
    citation = "RTS 6 article 12"
    is_strategy_scoped = True
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Ask the breakers."""
        reason = case.book.breakers.paused(case.intent.strategy)
        return Finding(f"strategy {case.intent.strategy} is paused by {reason}") if reason else None


class ReduceOnly(Rule):
    """Where the broker's position and ours do not add up, only reductions pass (P11)."""

    code = "RISK_REDUCE_ONLY"
    scope = Scope.CONTRACT
    citation = "P11"
    is_for_trouble = True

    def check(self, case: Case) -> Finding | None:
        """Look whether the contract's books differ for longer than they may."""
        contract = case.contract
        if not contract.is_mismatched and not contract.unexplained:
            return None
        return Finding(
            f"the broker shows a position of {plain(contract.broker)}, our books {plain(contract.total)}: "
            "only orders that reduce pass until they add up",
            plain(contract.total),
            plain(contract.broker),
        )


class OwnersUnsettled(Rule):
    """Where what nobody owns stands against what a strategy holds, only reductions pass until a person assigns it."""

    code = "RISK_OWNERS_UNSETTLED"
    scope = Scope.CONTRACT
    citation = "P11; a strategy's position may have been closed by hand"
    is_for_trouble = True
    since = 5

    def check(self, case: Case) -> Finding | None:
        """Look whether the owners' positions hide a closing of which no owner knows."""
        contract = case.contract
        if not contract.is_contested:
            return None
        unassigned = contract.by_strategy[UNASSIGNED]
        against = ", ".join(f"{one} {plain(held)}" for one, held in contract.owned() if held * unassigned < ZERO)
        return Finding(
            f"{plain(unassigned)} of this contract are unassigned, against {against} by our books: only orders that "
            "reduce pass until `cq positions assign` says whose they are",
            "0",
            plain(unassigned),
        )


class WouldCrossZero(Rule):
    """A strategy's close that would open the other side, since its position was closed by hand or is not there."""

    code = "RISK_WOULD_CROSS_ZERO"
    scope = Scope.CONTRACT
    citation = "P11; a strategy's position may have been closed by hand"

    def check(self, case: Case) -> Finding | None:
        """Compare the strategy's own position with the account's and with what people hold against it."""
        contract, strategy = case.contract, case.intent.strategy
        own = contract.by_strategy.get(strategy)
        if not own or strategy == MANUAL:
            return None
        side, size = (1, case.sells) if own > ZERO else (-1, case.buys)
        if size <= ZERO or own * side < size:
            return None  # it does not only close what the strategy holds
        works = contract.sells if side > 0 else contract.buys
        if contract.position * side - works >= size:
            return None  # the account holds enough
        if contract.is_mismatched and contract.broker is not None:
            shown = f"the broker shows {plain(contract.broker)}"
        else:
            by_hand = contract.by_strategy.get(UNASSIGNED, ZERO) + contract.by_strategy.get(MANUAL, ZERO)
            if by_hand * side >= ZERO:
                return None  # other strategies hold the other side: each may close its own
            shown = f"{plain(by_hand)} were traded by hand or are unassigned"
        return Finding(
            f"strategy {strategy} holds {plain(own)} by our books, but {shown}: the order would open a position on the "
            "other side of the account",
            plain(contract.position),
            plain(size),
        )


class DataStale(Rule):
    """No new exposure on old or missing prices, nor on prices dated ahead of our clock."""

    code = "RISK_DATA_STALE"
    scope = Scope.CONTRACT
    limit_name = "data_age_max_s"
    citation = "FIA: market data reasonability"

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.data_age_max_s is not None

    def check(self, case: Case) -> Finding | None:
        """Compare the age of the last tick with the limit."""
        limit, ts_ns = case.limits.data_age_max_s, case.contract.quote.ts_ns
        if ts_ns and case.mark is not None and abs(case.now_ns - ts_ns) <= case.limits.data_age_max_ns:
            return None
        if not ts_ns or case.mark is None:
            return Finding("no price has been seen for this contract", f"{plain(limit)} s", "none")
        age_s = (case.now_ns - ts_ns) / 1e9
        if age_s < 0:
            text = f"the last price is dated {-age_s:.1f} s ahead of this machine's clock: one of the two is wrong"
            return Finding(text, f"{plain(limit)} s", f"{age_s:.1f} s")
        return Finding(f"the last price is {age_s:.1f} s old", f"{plain(limit)} s", f"{age_s:.1f} s")


class DataDelayed(Rule):
    """Delayed prices warn or refuse, as the limits say."""

    code = "RISK_DATA_DELAYED"
    scope = Scope.CONTRACT
    limit_name = "delayed_data"
    citation = "TWS API: market data types"
    is_for_trouble = True

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether delayed data matter."""
        return limits.delayed_data != "allow"

    def check(self, case: Case) -> Finding | None:
        """Look at the kind of data the last tick was."""
        if case.contract.quote.quality not in DELAYED:
            return None
        choice = case.limits.delayed_data
        return Finding("prices of this contract are delayed (about 15 minutes)", choice, "delayed", choice == "warn")


class MoneyUnknown(Rule):
    """What is unknown in quantity x price x multiplier x rate refuses entries; it is never 1."""

    code = "RISK_MONEY_UNKNOWN"
    scope = Scope.ACCOUNT
    citation = "P7 (what is not known refuses entries)"

    def check(self, case: Case) -> Finding | None:
        """Look for unknown factors, of this contract and of what the account holds."""
        if case.order_value is not None and case.added_value is not None and not case.book.sums.unvalued:
            return None
        contract, info = case.contract, case.contract.info
        if case.order_value is None or case.value is None or case.added_value is None:
            if info is not None and case.point is None:
                return Finding(f"the exchange rate of {info.currency} is not known, so the order has no known worth")
            return Finding("the order has no known worth: a price or the contract's multiplier is missing")
        others = [con_id for con_id in case.book.sums.unvalued if con_id != contract.con_id]
        if not others:
            return None
        named = ", ".join(f"#{con_id}" for con_id in others[:3])
        return Finding(f"the account holds {named} of unknown worth, so its exposure is not known", "", named)


class MessageRate(Rule):
    """How many messages may go to the broker in any second: orders, changes and cancels of the account together.

    Each leg of a group counts, and each order that a cancel ends. Cancels and orders that only reduce are counted, and
    never refused by it.
    """

    code = "RISK_MESSAGE_RATE"
    scope = Scope.ACCOUNT
    limit_name = "messages_per_s_max"
    citation = "RTS 6 article 15(1)(d) (maximum messages); FIA: message throttles; TWS API: 50 messages a second"
    since = 5

    def is_on(self, limits: LimitSet) -> bool:
        """Return whether there is a limit."""
        return limits.messages_per_s_max is not None

    def check(self, case: Case) -> Finding | None:
        """Count what went in the last second, with the intent's own legs."""
        limit = case.limits.messages_per_s_max
        if limit is None:
            return None
        legs, messages = len(case.intent.legs), case.book.messages
        if messages.kept + legs <= limit:
            return None  # the usual case: not even all that are kept would be too many
        sent = messages.within(case.now_ns)
        if sent + legs <= limit:
            return None
        more = f"{legs} more" if legs > 1 else "one more"
        text = f"the account sent {sent} messages to the broker within a second: {more} is over {plain(limit)}"
        return Finding(text, f"{plain(limit)}/s", str(sent + legs))


class OrderRate(Rule):
    """A token bucket per strategy and one for the account."""

    code = "RISK_ORDER_RATE"
    scope = Scope.STRATEGY
    limit_name = "strategy_rate_per_s, strategy_rate_burst, account_rate_per_s, account_rate_burst"
    citation = "RTS 6 article 15(1)(d); FIA: message throttles"

    def check(self, case: Case) -> Finding | None:
        """Ask both buckets."""
        rates = case.limits.rates
        bucket = case.book.strategy_buckets.get(case.intent.strategy)
        if (bucket is not None and bucket.left(rates[0], rates[1], case.now_ns) < 1) or rates[1] < 1:
            return Finding(
                f"strategy {case.intent.strategy} sends more than {rates[0]:g} orders a second",
                f"{rates[0]:g}/s, burst {rates[1]:g}",
            )
        if case.book.account_bucket.left(rates[2], rates[3], case.now_ns) < 1:
            return Finding(
                f"the account sends more than {rates[2]:g} orders a second", f"{rates[2]:g}/s, burst {rates[3]:g}"
            )
        return None
