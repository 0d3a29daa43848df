"""An invented market: accounts whose orders live and end, whose balances and positions add up, and no venue.

Amounts are integers in units of 1e-8, so that everything adds up exactly: a fill moves what it says it moves. The same
seed gives the same events; only their times come from a clock, which may be one that is the same every time, too.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from execwire.workload import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SCALE", "Balance", "Event", "Instrument", "Market", "Order", "Plan", "Position", "fixed", "places"]

SCALE = 10**8

Kind = Literal["spot", "linear", "inverse"]


def fixed(amount: int) -> str:
    """With eight decimals."""
    if amount < 0:
        return "-" + fixed(-amount)
    return f"{amount // SCALE}.{amount % SCALE:08}"


_UNITS = [10 ** (8 - digits) for digits in range(9)]
_FORMATS = ["%d", *(f"%d.%0{digits}d" for digits in range(1, 9))]


def places(amount: int, digits: int) -> str:
    """With as many decimals as asked for; what is behind them is cut off. Nothing at all is ``0``."""
    if not amount:
        return "0"
    if amount < 0:
        return "-" + places(-amount, digits)
    amount //= _UNITS[digits]
    return _FORMATS[digits] % divmod(amount, 10**digits) if digits else str(amount)


# ==== What there is ====


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is traded.

    Attributes
    ----------
    price, qty : int
        Where the price begins, and a usual quantity.
    price_digits, qty_digits : int
        Decimals; together no more than eight, so that a quote amount is exact.
    contract : int
        Of inverse contracts: what one is worth, in the quote asset. Else 0.
    """

    name: str
    base: str
    quote: str
    price: int
    price_digits: int
    qty: int
    qty_digits: int
    contract: int = 0

    @property
    def settled_in(self) -> str:
        """The asset of margin, profit and fees of a contract."""
        return self.base if self.contract else self.quote

    def value(self, price: int, qty: int) -> int:
        """What a quantity is worth: in the quote asset, for inverse contracts in the base asset."""
        return self.contract * qty // price if self.contract else price * qty // SCALE

    def mean_price(self, value: int, qty: int) -> int:
        """The price at which a quantity is worth that much; 0 for nothing."""
        if not (value and qty):
            return 0
        return self.contract * qty // value if self.contract else value * SCALE // qty


def _instruments(kind: Kind) -> tuple[Instrument, ...]:
    if kind == "inverse":
        return tuple(
            Instrument(f"{base}USD_PERP", base, "USD", price * SCALE, 1, 12 * SCALE, 0, contract * SCALE)
            for base, price, contract in (("BTC", 91250, 100), ("ETH", 3120, 10), ("SOL", 187, 10))
        )
    return tuple(
        Instrument(
            one.name,
            one.base,
            "USDT",
            round(one.price * SCALE),
            one.price_digits,
            round(one.qty * SCALE),
            one.qty_digits,
        )
        for one in SYMBOLS
    )


class Balance(NamedTuple):
    """Of an asset, after an event. `locked` is what open orders hold, or the margin of orders and positions."""

    asset: str
    free: int
    locked: int

    @property
    def total(self) -> int:
        """Free and locked."""
        return self.free + self.locked


@dataclass(slots=True)
class Position:
    """A net position. `cost` is what it was worth when it was opened, in the settlement asset."""

    instrument: Instrument
    number: int
    qty: int = 0  # negative: short
    cost: int = 0
    realized: int = 0  # since the beginning, without fees
    fees: int = 0
    funding: int = 0
    created: int = 0
    before: int = 0  # qty before the last fill
    mark: int = 0

    @property
    def entry(self) -> int:
        """The mean entry price; 0 if flat."""
        return self.instrument.mean_price(self.cost, abs(self.qty))

    @property
    def unrealized(self) -> int:
        """Profit at the mark price."""
        return self._profit(self.instrument.value(self.mark, abs(self.qty)), self.cost) if self.qty else 0

    def fill(self, signed: int, price: int) -> int:
        """Add a fill; returns the profit that it realized."""
        self.before = self.qty
        closing = min(abs(signed), abs(self.qty)) if self.qty * signed < 0 else 0
        profit = 0
        if closing:
            part = self.cost * closing // abs(self.qty)
            profit = self._profit(self.instrument.value(price, closing), part)
            self.cost -= part
            self.qty += closing if signed > 0 else -closing
            signed -= closing if signed > 0 else -closing
            if not self.qty:
                self.cost = 0
        self.cost += self.instrument.value(price, abs(signed))
        self.qty += signed
        self.realized += profit
        return profit

    def _profit(self, now: int, then: int) -> int:
        up = (self.qty > 0) != bool(self.instrument.contract)  # an inverse contract is worth less when the price rises
        return now - then if up else then - now

    def snapshot(self) -> Position:
        """As it is now."""
        return replace(self)


@dataclass(slots=True)
class Order:
    """An order, as it is now."""

    instrument: Instrument
    number: int
    client_id: str
    buy: bool
    type: str  # LIMIT, LIMIT_MAKER, MARKET
    force: str  # GTC, IOC, FOK
    price: int  # 0: a market order
    limit: int  # the worst price that it may pay
    qty: int
    created: int
    status: str = "NEW"
    filled: int = 0
    quote: int = 0
    fees: int = 0
    fee_asset: str = ""
    reduce_only: bool = False
    updated: int = 0

    @property
    def open(self) -> int:
        """What is not filled."""
        return self.qty - self.filled


@dataclass(slots=True)
class Plan:
    """A conditional order: at its trigger price it places an order. As it is now."""

    instrument: Instrument
    number: int
    client_id: str
    buy: bool
    trigger: int
    price: int  # of the order that it places; 0: a market order
    qty: int
    created: int
    reduce_only: bool
    triggered: int = 0  # when; 0: not yet
    order: Order | None = None  # that it has placed


@dataclass(slots=True)
class Event:
    """Something that happened to the account. Everything in it is as it was then.

    Attributes
    ----------
    kind : {"order", "plan", "transfer", "funding"}
    number : int
        1 for the first of the market.
    at : int
        ms since 1970.
    execution : str
        Of an order NEW, TRADE, REPLACED, CANCELED, EXPIRED, REJECTED; of a plan NEW, TRIGGERING, TRIGGERED, FINISHED,
        CANCELED.
    rendered : dict
        What venues have made of it, so that an event that is repeated is rendered once.
    """

    kind: Literal["order", "plan", "transfer", "funding"]
    number: int
    at: int
    balances: tuple[Balance, ...]
    positions: tuple[Position, ...] = ()
    order: Order | None = None
    plan: Plan | None = None
    execution: str = ""
    status: str = ""
    qty: int = 0
    filled: int = 0
    quote: int = 0
    last_qty: int = 0
    last_price: int = 0
    last_quote: int = 0
    maker: bool = False
    fee: int = 0
    fee_asset: str = ""
    fees: int = 0
    trade: int = 0
    realized: int = 0
    reason: str = ""
    cancel_id: str = ""
    asset: str = ""
    delta: int = 0
    rendered: dict[object, list[Any]] = field(default_factory=dict, compare=False, repr=False)


# ==== What happens ====

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STARTING = {"USDT": 2_000_000, "BTC": 20, "ETH": 500, "SOL": 8_000, "BNB": 1_000, "LINK": 60_000, "XRP": 500_000,
             "DOGE": 6_000_000, "1000SATS": 20_000_000_000}  # fmt: skip
_LEVERAGE = 20
_OPEN_ORDERS = 12
_PLANS = 0.05  # of the orders that are placed are conditional


@dataclass
class Market:
    """One account in one market.

    Parameters
    ----------
    seed : str
        The same seed, the same events.
    kind : {"spot", "linear", "inverse"}
        What is traded: assets, contracts settled in the quote asset, or contracts settled in the base asset.
    clock : callable
        Gives the time, ms since 1970.
    """

    seed: str
    kind: Kind
    clock: Callable[[], int]
    instruments: tuple[Instrument, ...] = field(init=False)
    free: dict[str, int] = field(init=False)
    locked: dict[str, int] = field(init=False)
    positions: dict[str, Position] = field(init=False)
    orders: dict[int, Order] = field(init=False, default_factory=dict)
    history: deque[Event] = field(init=False)
    count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.seed}:{self.kind}")
        self.instruments = _instruments(self.kind)
        self.prices = {one.name: one.price for one in self.instruments}
        settled = {one.settled_in for one in self.instruments}
        self.free = {asset: n * SCALE for asset, n in _STARTING.items() if self.kind == "spot" or asset in settled}
        self.locked = dict.fromkeys(self.free, 0)
        self.starting = dict(self.free)
        self.positions = (
            {}
            if self.kind == "spot"
            else {
                one.name: Position(one, 90_801 + n, mark=one.price, created=0) for n, one in enumerate(self.instruments)
            }
        )
        self.history = deque(maxlen=1_000)
        self._weights = list(itertools.accumulate((8, 6, 4, 2, 2, 2, 1, 1)[: len(self.instruments)]))
        nth = ("spot", "linear", "inverse").index(self.kind)  # an account that has several meets no number twice
        self._numbers = itertools.count(48_211_903_377 + nth, 7)
        self._trades = itertools.count(512_345_678 + nth, 3)
        self._lives: list[Iterator[Event]] = []

    # ---- What the account has ----

    @property
    def leverage(self) -> int:
        """Of every position."""
        return _LEVERAGE

    def balance(self, asset: str) -> Balance:
        """Of an asset, now. In a market of contracts `locked` is margin, and both together are the wallet."""
        if self.kind == "spot":
            return Balance(asset, self.free[asset], self.locked[asset])
        margin = self.locked[asset] + sum(
            one.cost // _LEVERAGE for one in self.positions.values() if one.qty and one.instrument.settled_in == asset
        )
        return Balance(asset, self.free[asset] - margin, margin)

    def balances(self) -> list[Balance]:
        """Of every asset."""
        return [self.balance(asset) for asset in self.free]

    # ---- Events ----

    def step(self) -> Event:
        """The next event."""
        self.count += 1
        draw = self.random.random()
        event = None
        if draw < 0.01:
            event = self._transfer()
        elif draw < 0.015 and self.kind != "spot":
            event = self._funding()
        while event is None:
            while len(self._lives) < _OPEN_ORDERS:
                plan = self.kind != "spot" and self.random.random() < _PLANS
                self._lives.append(self._plan_life() if plan else self._life(self._new_order()))
            index = self.random.randrange(len(self._lives))
            event = next(self._lives[index], None)
            if event is None:
                self._lives.pop(index)
        self.history.append(event)
        return event

    def _transfer(self) -> Event:
        asset = self.random.choice(list(self.free))
        most = self.starting[asset] // 1000
        delta = self.random.randrange(1, most) * self.random.choice((1, 1, -1))
        if self.balance(asset).free + delta < 0:
            delta = -delta
        self.free[asset] += delta
        return Event("transfer", self.count, self.clock(), (self.balance(asset),), asset=asset, delta=delta)

    def _funding(self) -> Event | None:
        held = [one for one in self.positions.values() if one.qty]
        if not held:
            return None
        position = self.random.choice(held)
        asset = position.instrument.settled_in
        value = position.instrument.value(position.mark, abs(position.qty))
        delta = value * self.random.randrange(-10, 20) // 100_000 * (-1 if position.qty > 0 else 1)
        if not delta:
            return None
        position.funding += delta
        self.free[asset] += delta
        return Event(
            "funding",
            self.count,
            self.clock(),
            (self.balance(asset),),
            (position.snapshot(),),
            asset=asset,
            delta=delta,
        )

    # ---- An order's life ----

    def _client_id(self) -> str:
        return self.random.choice(("mm-", "x-", "web_", "desk7-")) + "".join(
            self.random.choices(_LETTERS, k=self.random.choice((6, 17, 20, 22)))
        )

    def _new_order(self) -> Order:
        one = self.random.choices(self.instruments, cum_weights=self._weights)[0]
        type_ = self.random.choices(("LIMIT", "LIMIT_MAKER", "MARKET"), cum_weights=(6, 9, 10))[0]
        force = self.random.choices(("GTC", "IOC", "FOK"), cum_weights=(8, 9, 10))[0] if type_ == "LIMIT" else "GTC"
        tick, lot = _UNITS[one.price_digits], _UNITS[one.qty_digits]
        drift = self.prices[one.name] * self.random.randrange(-1_000, 1_001) // 1_000_000
        moved = min(max(self.prices[one.name] + drift, one.price * 4 // 5), one.price * 6 // 5)
        price = self.prices[one.name] = max(moved // tick, 1) * tick
        qty = max(one.qty * self.random.randrange(200, 3_000) // 1_000 // lot, 1) * lot
        buy = self.random.random() < 0.5
        if self.kind == "spot":
            if not self._can_pay(one, buy, price, qty):
                buy = not buy
                if not self._can_pay(one, buy, price, qty):
                    qty = lot
            reduce_only = False
        else:
            held = self.positions[one.name].qty
            if abs(held) > 20 * one.qty:
                buy = held < 0
            reduce_only = held * (1 if buy else -1) < -qty
        return Order(
            one,
            next(self._numbers),
            self._client_id(),
            buy,
            type_,
            force,
            0 if type_ == "MARKET" else price,
            price,
            qty,
            0,
            reduce_only=reduce_only,
        )

    def _can_pay(self, one: Instrument, buy: bool, price: int, qty: int) -> bool:
        return self.free[one.quote] >= one.value(price, qty) if buy else self.free[one.base] >= qty

    def _held(self, order: Order, qty: int) -> tuple[str, int]:
        """What a quantity of an order holds back."""
        one = order.instrument
        if self.kind != "spot":
            return one.settled_in, 0 if order.reduce_only else one.value(order.limit, qty) // _LEVERAGE
        return (one.quote, one.value(order.limit, qty)) if order.buy else (one.base, qty)

    def _hold(self, order: Order, before: int, after: int) -> None:
        """Hold back for `after` instead of `before`, both open quantities."""
        asset, held = self._held(order, before)
        more = self._held(order, after)[1] - held
        self.locked[asset] += more
        if self.kind == "spot":
            self.free[asset] -= more

    def _plan_life(self) -> Iterator[Event]:
        order = self._new_order()
        plan = Plan(
            order.instrument,
            order.number,
            order.client_id,
            order.buy,
            order.limit,
            order.price,
            order.qty,
            self.clock(),
            order.reduce_only,
        )

        def report(status: str) -> Event:
            return Event("plan", self.count, self.clock(), (), plan=replace(plan), execution=status, status=status)

        yield report("NEW")
        if self.random.random() < 0.4:
            yield report("CANCELED")
            return
        yield report("TRIGGERING")
        plan.triggered = self.clock()
        order.number, order.client_id = next(self._numbers), self._client_id()
        plan.order = order
        yield report("TRIGGERED")
        yield from self._life(order)
        yield report("FINISHED")

    def _life(self, order: Order) -> Iterator[Event]:
        order.created = order.updated = self.clock()
        if self.kind == "spot" and self.random.random() < 0.01:
            order.status = "REJECTED"
            yield self._report(
                order,
                "REJECTED",
                reason="WOULD_MATCH_IMMEDIATELY" if order.type == "LIMIT_MAKER" else "INSUFFICIENT_BALANCES",
            )
            return
        if self.kind == "spot" and not self._can_pay(order.instrument, order.buy, order.limit, order.qty):
            return
        self.orders[order.number] = order
        self._hold(order, 0, order.qty)
        yield self._report(order, "NEW")
        end = self.random.choices(("FILLED", "CANCELED", "EXPIRED"), cum_weights=(5, 10, 11))[0]
        if order.type == "MARKET":
            end = "FILLED"
        elif order.type == "LIMIT_MAKER" or order.force == "GTC":
            end = "CANCELED" if end == "EXPIRED" else end
        lot = _UNITS[order.instrument.qty_digits]
        if order.type == "LIMIT" and order.force == "GTC" and order.qty > 3 * lot and self.random.random() < 0.05:
            less = max(order.qty * 2 // 3 // lot, 1) * lot
            self._hold(order, order.qty, less)
            order.qty = less
            yield self._report(order, "REPLACED")
        parts = 0 if order.force == "FOK" else self.random.choices((0, 1, 2, 4), cum_weights=(5, 8, 10, 11))[0]
        for _ in range(parts):
            part = order.open * self.random.randrange(100, 600) // 1000 // lot * lot
            if 0 < part < order.open:
                yield self._trade(order, part)
        if end == "FILLED":
            yield self._trade(order, order.open)
            return
        order.status = end
        self._hold(order, order.open, 0)
        del self.orders[order.number]
        yield self._report(order, end, cancel_id=self._client_id() if end == "CANCELED" else "")

    def _trade(self, order: Order, qty: int) -> Event:
        one = order.instrument
        tick = _UNITS[one.price_digits]
        maker = order.type == "LIMIT_MAKER" or (
            order.type == "LIMIT" and order.force == "GTC" and self.random.random() < 0.7
        )
        price = order.limit
        if not maker:  # a taker gets a price that is as good or better
            better = price * self.random.randrange(0, 500) // 1_000_000 // tick * tick
            price = price - better if order.buy else price + better
        quote = one.value(price, qty)
        open_before = order.open
        order.filled += qty
        order.quote += quote
        order.status = "PARTIALLY_FILLED" if order.open else "FILLED"
        self._hold(order, open_before, order.open)
        if not order.open:
            del self.orders[order.number]
        realized = 0
        if self.kind == "spot":
            got, given = ((one.base, qty), (one.quote, quote)) if order.buy else ((one.quote, quote), (one.base, qty))
            self.free[given[0]] -= given[1]
            self.free[got[0]] += got[1]
            fee_asset, fee = "BNB", quote * 75 // 100_000 * SCALE // self.prices["BNBUSDT"]
            if one.base == "BNB" or self.free["BNB"] < fee:
                fee_asset, fee = got[0], got[1] // 1_000
            self.free[fee_asset] -= fee
        else:
            position = self.positions[one.name]
            fee_asset, fee = one.settled_in, quote * (20 if maker else 50) // 100_000
            if not position.qty:
                position.created = self.clock()
            realized = position.fill(qty if order.buy else -qty, price)
            position.fees += fee
            position.mark = self.prices[one.name]
            self.free[fee_asset] += realized - fee
        order.fees += fee
        order.fee_asset = fee_asset
        return self._report(
            order,
            "TRADE",
            last_qty=qty,
            last_price=price,
            last_quote=quote,
            maker=maker,
            fee=fee,
            fee_asset=fee_asset,
            trade=next(self._trades),
            realized=realized,
        )

    def _report(
        self,
        order: Order,
        execution: str,
        *,
        last_qty: int = 0,
        last_price: int = 0,
        last_quote: int = 0,
        maker: bool = False,
        fee: int = 0,
        fee_asset: str = "",
        trade: int = 0,
        realized: int = 0,
        reason: str = "",
        cancel_id: str = "",
    ) -> Event:
        one = order.instrument
        order.updated = self.clock()
        if self.kind != "spot":
            assets = [one.settled_in]
        elif trade:
            assets = [one.base, one.quote]
            if fee_asset not in assets:
                assets.append(fee_asset)
        elif execution == "REJECTED":
            assets = []
        else:
            assets = [one.quote if order.buy else one.base]
        return Event(
            "order",
            self.count,
            order.updated,
            tuple(self.balance(asset) for asset in assets),
            (self.positions[one.name].snapshot(),) if trade and self.positions else (),
            order,
            None,
            execution,
            order.status,
            order.qty,
            order.filled,
            order.quote,
            last_qty,
            last_price,
            last_quote,
            maker,
            fee,
            fee_asset,
            order.fees,
            trade,
            realized,
            reason,
            cancel_id,
        )
