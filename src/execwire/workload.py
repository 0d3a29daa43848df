"""Messages to measure with: full-size, realistic, all distinct, and the same on every machine.

Exchanges repeat themselves from message to message: the same keys in the same order, the same few symbols, orders that
are placed, filled in parts and canceled. These generators do the same with values of their own, so that a decoder finds
what it would find on a stream, and no branch predictor learns a message by heart.
"""

from __future__ import annotations

import gzip
import itertools
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["DISTINCT", "EVENTS", "SYMBOLS", "VARIANTS", "Symbol", "Workload", "nested", "workload"]

DISTINCT = 10_000  # messages of a workload

_START = 1_795_000_000_000  # ms


@dataclass(frozen=True)
class Workload:
    """Messages of one sort."""

    name: str
    venue: str
    title: str
    messages: tuple[bytes, ...]

    @property
    def bytes_per_message(self) -> float:
        """The mean."""
        return sum(map(len, self.messages)) / len(self.messages)


# ---- MARK: The market ----


class Symbol(NamedTuple):
    """What is traded: a usual price and quantity, and how many decimals they have."""

    name: str
    base: str
    price: float
    price_digits: int
    qty: float
    qty_digits: int


SYMBOLS = (
    Symbol("BTCUSDT", "BTC", 91250.0, 2, 0.05, 5),
    Symbol("ETHUSDT", "ETH", 3120.0, 2, 1.2, 4),
    Symbol("SOLUSDT", "SOL", 187.0, 2, 20.0, 3),
    Symbol("BNBUSDT", "BNB", 871.0, 1, 3.0, 3),
    Symbol("LINKUSDT", "LINK", 17.2, 3, 120.0, 2),
    Symbol("XRPUSDT", "XRP", 2.3125, 4, 900.0, 1),
    Symbol("DOGEUSDT", "DOGE", 0.18123, 5, 9000.0, 0),
    Symbol("1000SATSUSDT", "1000SATS", 0.00002187, 8, 2_000_000.0, 0),
)
_ASSETS = ("USDT", *(symbol.base for symbol in SYMBOLS))
_ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass
class _Order:
    symbol: Symbol
    buy: bool
    type: str  # LIMIT, LIMIT_MAKER, MARKET
    force: str  # GTC, IOC, ...
    number: int
    client_id: str
    price: float  # 0: a market order
    qty: float
    created: int
    filled: float = 0.0
    quote: float = 0.0


class _Report(NamedTuple):
    """What happens to an order."""

    order: _Order
    at: int
    execution: str  # NEW, TRADE, CANCELED, EXPIRED
    status: str
    last_qty: float = 0.0
    last_price: float = 0.0
    maker: bool = False
    trade: int = 0
    filled: float = 0.0
    quote: float = 0.0
    cancel_id: str = ""


class _Market:
    """Orders that live and end, a report at a time, several at once."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.now = _START
        self.numbers = itertools.count(48_211_903_377, 7)
        self.trades = itertools.count(5_012_345_678, 3)
        self.open: list[Iterator[_Report]] = []

    def reports(self) -> Iterator[_Report]:
        while True:
            while len(self.open) < 12:
                self.open.append(self.life(self.order()))
            index = self.random.randrange(len(self.open))
            self.now += self.random.choice((0, 1, 3, 17, 120, 900)) + self.random.randrange(9)
            report = next(self.open[index], None)
            if report is None:
                self.open.pop(index)
            else:
                yield report

    def client_id(self) -> str:
        return self.random.choice(("mm-", "x-", "web_", "desk7-")) + "".join(
            self.random.choices(_ID_LETTERS, k=self.random.choice((6, 17, 20, 22, 28)))
        )

    def order(self) -> _Order:
        symbol = self.random.choices(SYMBOLS, weights=(8, 6, 4, 2, 2, 2, 1, 1))[0]
        type_ = self.random.choices(("LIMIT", "LIMIT_MAKER", "MARKET"), weights=(6, 3, 1))[0]
        force = self.random.choices(("GTC", "IOC", "FOK"), weights=(8, 1, 1))[0] if type_ == "LIMIT" else "GTC"
        return _Order(
            symbol,
            self.random.random() < 0.5,
            type_,
            force,
            next(self.numbers),
            self.client_id(),
            0.0 if type_ == "MARKET" else round(self.price(symbol), symbol.price_digits),
            self.qty(symbol, symbol.qty * self.random.uniform(0.2, 3)),
            self.now,
        )

    def price(self, symbol: Symbol) -> float:
        return symbol.price * self.random.uniform(0.97, 1.03)

    @staticmethod
    def qty(symbol: Symbol, qty: float) -> float:
        return max(round(qty, symbol.qty_digits), 10.0**-symbol.qty_digits)

    def life(self, order: _Order) -> Iterator[_Report]:
        order.created = self.now
        yield _Report(order, self.now, "NEW", "NEW")
        end = self.random.choices(("FILLED", "CANCELED", "EXPIRED"), weights=(5, 5, 1))[0]
        if order.type == "MARKET":
            end = "FILLED"
        for _ in range(self.random.choices((0, 1, 2, 4), weights=(5, 3, 2, 1))[0]):
            part = self.qty(order.symbol, (order.qty - order.filled) * self.random.uniform(0.1, 0.6))
            if part < order.qty - order.filled:
                yield self.trade(order, part, "PARTIALLY_FILLED")
        if end == "FILLED":
            yield self.trade(order, order.qty - order.filled, "FILLED")
        else:
            cancel_id = self.client_id() if end == "CANCELED" else ""
            yield _Report(order, self.now, end, end, filled=order.filled, quote=order.quote, cancel_id=cancel_id)

    def trade(self, order: _Order, qty: float, status: str) -> _Report:
        price = order.price or round(self.price(order.symbol), order.symbol.price_digits)
        order.filled = order.qty if status == "FILLED" else order.filled + qty
        order.quote += qty * price
        maker = order.type == "LIMIT_MAKER" or (order.type == "LIMIT" and self.random.random() < 0.7)
        return _Report(
            order, self.now, "TRADE", status, qty, price, maker, next(self.trades), order.filled, order.quote
        )


def _dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _fixed(value: float) -> str:
    """Spot writes eight decimals."""
    return f"{value:.8f}"


def _short(value: float, digits: int) -> str:
    """Futures write as many decimals as the symbol has, and "0"."""
    return f"{value:.{digits}f}" if value else "0"


# ---- MARK: Binance Spot ----


def _execution_report(report: _Report, market: _Market) -> dict[str, object]:
    order, traded = report.order, report.execution == "TRADE"
    message: dict[str, object] = {
        "e": "executionReport",
        "E": report.at + 1,
        "s": order.symbol.name,
        "c": report.cancel_id or order.client_id,
        "S": "BUY" if order.buy else "SELL",
        "o": order.type,
        "f": order.force,
        "q": _fixed(order.qty),
        "p": _fixed(order.price),
        "P": "0.00000000",
        "F": "0.00000000",
        "g": -1,
        "C": order.client_id if report.cancel_id else "",
        "x": report.execution,
        "X": report.status,
        "r": "NONE",
        "i": order.number,
        "l": _fixed(report.last_qty),
        "z": _fixed(report.filled),
        "L": _fixed(report.last_price),
        "n": _fixed(report.last_qty * report.last_price * 0.00075 / 871) if traded else "0",
        "N": market.random.choice(("BNB", "BNB", order.symbol.base, "USDT")) if traded else None,
        "T": report.at,
        "t": report.trade if traded else -1,
        "I": 2 * order.number + report.trade % 1000,
        "w": report.status in ("NEW", "PARTIALLY_FILLED"),
        "m": report.maker,
        "M": False,
        "O": order.created,
        "Z": _fixed(report.quote),
        "Y": _fixed(report.last_qty * report.last_price),
        "Q": "0.00000000",
        "W": order.created,
        "V": "EXPIRE_MAKER",
    }
    return message


def _spot_orders(seed: str) -> Iterator[bytes]:
    market = _Market(seed)
    for report in market.reports():
        yield _dumps(_execution_report(report, market))


def _ws_api(seed: str) -> Iterator[bytes]:
    market = _Market(seed)
    for report in market.reports():
        yield _dumps({"subscriptionId": report.order.number % 3, "event": _execution_report(report, market)})


def _account_position(market: _Market) -> bytes:
    assets = market.random.sample(_ASSETS, market.random.choice((2, 2, 3)))
    balances = [
        {
            "a": asset,
            "f": _fixed(10 ** market.random.uniform(-3, 5)),
            "l": _fixed(market.random.choice((0.0, 10 ** market.random.uniform(-3, 4)))),
        }
        for asset in assets
    ]
    return _dumps({"e": "outboundAccountPosition", "E": market.now + 1, "u": market.now, "B": balances})


def _spot_balances(seed: str) -> Iterator[bytes]:
    market = _Market(seed)
    for _report in market.reports():
        yield _account_position(market)


def _spot_mix(seed: str) -> Iterator[bytes]:
    """As an account sees it: a fill changes balances, so do a new order and a canceled one; transfers are rare."""
    market = _Market(seed)
    for report in market.reports():
        yield _dumps(_execution_report(report, market))
        if report.status != "EXPIRED":
            yield _account_position(market)
        if market.random.random() < 0.02:
            delta = _fixed(market.random.uniform(-500, 500))
            yield _dumps({"e": "balanceUpdate", "E": market.now + 1, "a": "USDT", "d": delta, "T": market.now})


# ---- MARK: Binance futures ----


def _order_trade_update(report: _Report, market: _Market) -> bytes:
    order, traded = report.order, report.execution == "TRADE"
    price = order.symbol.price_digits
    qty = order.symbol.qty_digits
    fee = {"N": "USDT", "n": _fixed(report.last_qty * report.last_price * 0.0002)} if traded else {}
    inner = {
        "s": order.symbol.name,
        "c": order.client_id,
        "S": "BUY" if order.buy else "SELL",
        "o": order.type.removesuffix("_MAKER"),
        "f": "GTX" if order.type == "LIMIT_MAKER" else order.force,
        "q": _short(order.qty, qty),
        "p": _short(order.price, price),
        "ap": _short(report.quote / report.filled if report.filled else 0.0, price + 1),
        "sp": "0",
        "x": report.execution,
        "X": report.status,
        "i": 8_389_766_200_417_765_889 + order.number,
        "l": _short(report.last_qty, qty),
        "z": _short(report.filled, qty),
        "L": _short(report.last_price, price),
        **fee,
        "T": report.at,
        "t": report.trade % 10**9 if traded else 0,
        "b": _short(market.random.uniform(0, 5000), 5),
        "a": _short(market.random.choice((0.0, market.random.uniform(0, 5000))), 5),
        "m": report.maker,
        "R": market.random.random() < 0.1,
        "wt": "CONTRACT_PRICE",
        "ot": order.type.removesuffix("_MAKER"),
        "ps": "BOTH",
        "cp": False,
        "rp": _fixed(market.random.uniform(-80, 80)) if traded else "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "EXPIRE_MAKER",
        "pm": "NONE",
        "gtd": 0,
    }
    return _dumps({"e": "ORDER_TRADE_UPDATE", "T": report.at, "E": report.at + 2, "o": inner})


def _account_update(report: _Report, market: _Market) -> bytes:
    def position(symbol: Symbol) -> dict[str, object]:
        entry = round(market.price(symbol), symbol.price_digits + 3)
        return {
            "s": symbol.name,
            "pa": f"{market.random.uniform(-9, 9) * symbol.qty:.{symbol.qty_digits}f}",
            "ep": f"{entry:.{symbol.price_digits + 3}f}",
            "cr": _fixed(market.random.uniform(-900, 900)),
            "up": _fixed(market.random.uniform(-90, 90)),
            "mt": "cross",
            "iw": "0",
            "ps": "BOTH",
            "ma": "USDT",
            "bep": round(entry * 1.0003, 6),
        }

    wallet = market.random.uniform(9_000, 90_000)
    balances = [{"a": "USDT", "wb": _fixed(wallet), "cw": _fixed(wallet * 0.98), "bc": "0"}]
    if market.random.random() < 0.3:
        wallet = market.random.uniform(0.1, 9)
        balances.append({"a": "BNB", "wb": _fixed(wallet), "cw": _fixed(wallet), "bc": "0"})
    positions = [position(report.order.symbol)]
    if market.random.random() < 0.2:
        positions.append(position(market.random.choice(SYMBOLS)))
    inner = {"B": balances, "P": positions, "m": "ORDER"}
    return _dumps({"e": "ACCOUNT_UPDATE", "T": report.at, "E": report.at + 2, "a": inner})


def _futures_orders(seed: str) -> Iterator[bytes]:
    market = _Market(seed)
    for report in market.reports():
        yield _order_trade_update(report, market)


def _futures_accounts(seed: str) -> Iterator[bytes]:
    market = _Market(seed)
    for report in market.reports():
        yield _account_update(report, market)


def _futures_mix(seed: str) -> Iterator[bytes]:
    """A fill changes the account, and is told after it."""
    market = _Market(seed)
    for report in market.reports():
        if report.execution == "TRADE":
            yield _account_update(report, market)
        yield _order_trade_update(report, market)


# ---- MARK: Bitget ----

_BITGET_STATUS = {
    "NEW": "live",
    "PARTIALLY_FILLED": "partially_filled",
    "FILLED": "filled",
    "CANCELED": "canceled",
    "EXPIRED": "canceled",
}


def _bitget_row(report: _Report, market: _Market) -> dict[str, object]:
    order, traded = report.order, report.execution == "TRADE"
    price, qty = order.symbol.price_digits, order.symbol.qty_digits
    fee = f"-{report.last_qty * report.last_price * 0.0002:.8f}"
    fees = [{"feeCoin": "USDT", "fee": f"-{report.quote * 0.0002:.8f}"}] if report.filled else []
    side = "buy" if order.buy else "sell"
    row: dict[str, object] = {
        "accBaseVolume": _short(report.filled, qty),
        "cTime": str(order.created),
        "clientOid": str(1_211_400_000_000_000_000 + order.number * 977),
        "enterPointSource": "API",
        "feeDetail": fees,
    }
    if traded:
        row |= {
            "fillFee": fee,
            "fillFeeCoin": "USDT",
            "fillNotionalUsd": _short(report.last_qty * report.last_price, 4),
            "fillPrice": _short(report.last_price, price),
            "baseVolume": _short(report.last_qty, qty),
            "fillTime": str(report.at),
        }
    row |= {
        "force": {"LIMIT_MAKER": "post_only"}.get(order.type, order.force.lower()),
        "instId": order.symbol.name,
        "leverage": "20",
        "marginCoin": "USDT",
        "marginMode": "crossed",
        "notionalUsd": _short(order.qty * (order.price or order.symbol.price), 4),
        "orderId": str(1_385_553_000_000_000_000 + order.number * 1009),
        "orderType": "market" if order.type == "MARKET" else "limit",
    }
    if traded:
        row["pnl"] = _short(market.random.uniform(-80, 80), 6)
    row |= {"posMode": "hedge_mode", "posSide": "long" if order.number % 3 else "short"}
    if order.price:
        row["price"] = _short(order.price, price)
    if report.filled:
        row["priceAvg"] = _short(report.quote / report.filled, price)
    row |= {
        "reduceOnly": "yes" if order.number % 10 == 0 else "no",
        "side": side,
        "size": _short(order.qty, qty),
        "status": _BITGET_STATUS[report.status],
    }
    if traded:
        row |= {"tradeId": str(1_385_553_001_000_000_000 + report.trade), "tradeScope": "M" if report.maker else "T"}
    row |= {"tradeSide": "open", "uTime": str(report.at + 2)}
    return row


def _bitget(seed: str, rows: int) -> Iterator[bytes]:
    market = _Market(seed)
    reports = market.reports()
    while True:
        data = [_bitget_row(next(reports), market) for _ in range(rows)]
        arg = {"instType": "USDT-FUTURES", "channel": "orders", "instId": "default"}
        yield _dumps({"action": "snapshot", "arg": arg, "data": data, "ts": market.now + 5})


# ---- MARK: What is hard ----


def _shuffled(seed: str) -> Iterator[bytes]:
    """Every message has its keys in an order of its own."""
    rng = random.Random(seed)
    for message in _spot_orders(seed):
        members = list(json.loads(message).items())
        rng.shuffle(members)
        yield _dumps(dict(members))


def _unknown(seed: str) -> Iterator[bytes]:
    """Every key but the event's is one that no dialect knows, and is in no other message."""
    for number, message in enumerate(_spot_orders(seed)):
        members = iter(json.loads(message).items())
        first = dict([next(members)])
        yield _dumps(first | {f"{key}{number}_{index}": value for index, (key, value) in enumerate(members)})


def nested(size: int, shape: str = "deep", variant: int = 0) -> bytes:
    """An executionReport with one unknown key, whose value is about `size` bytes of hostile nesting.

    Parameters
    ----------
    size : int
        Bytes.
    shape : {"deep", "objects", "flat", "backslashes", "keys"}
        Containers at the limit of depth, over and over; objects in objects; a long array of nothing; a text of
        escapes; one known key, repeated.
    variant : int
        Payloads of different variants differ almost from their beginning.
    """
    depth = 100 - variant % 60
    size += variant % 60
    tower = "[" * depth + "]" * depth
    people = '{"a":' * depth + "0" + "}" * depth
    value = {
        "deep": lambda: f"[{','.join([tower] * (size // (len(tower) + 1) + 1))}]",
        "objects": lambda: f"[{','.join([people] * (size // (len(people) + 1) + 1))}]",
        "flat": lambda: f"[{','.join(['[]'] * (size // 3 + 1))}]",
        "backslashes": lambda: '"' + "\\\\" * (size // 2) + '"',
        "keys": lambda: "0" + ',"p":"1.5"' * (size // 10 + 1),
    }[shape]()
    return f'{{"e":"executionReport","E":{_START},"s":"BTCUSDT","z{variant}":{value},"i":1}}'.encode()


def _nesting(seed: str) -> Iterator[bytes]:
    """Messages of the usual size, but of hostile nesting."""
    rng = random.Random(seed)
    for message in _spot_orders(seed):
        depth = rng.randrange(20, 100)
        tower = ("[" * depth + "]" * depth) if rng.random() < 0.5 else ('{"e":' * depth + "{}" + "}" * depth)
        yield message[:-1] + b',"zz":' + tower.encode() + b"}"


def _gzip_frames(seed: str) -> Iterator[bytes]:
    """As white-label exchanges push them: orders, a gzip frame each."""
    market = _Market(seed)
    for report in market.reports():
        order = report.order
        message = {
            "E": report.at + 54,
            "L": f"{report.last_price:.16f}",
            "O": order.created,
            "P": "0",
            "Q": "0",
            "S": "BUY" if order.buy else "SELL",
            "T": report.at,
            "X": {"PARTIALLY_FILLED": "PART_FILLED", "EXPIRED": "CANCELED"}.get(report.status, report.status),
            "Y": f"{report.last_price * report.last_qty:.16f}",
            "Z": f"{report.quote:.16f}",
            "e": "executionReport",
            "i": str(2_690_536_306_533_249_999 + order.number),
            "l": f"{report.last_qty:.16f}",
            "n": f"{report.last_qty * 0.001:.16f}",
            "o": order.type.removesuffix("_MAKER"),
            "p": _short(order.price, order.symbol.price_digits),
            "q": _short(order.qty, order.symbol.qty_digits),
            "s": order.symbol.name,
            "x": "STATUS",
            "z": f"{report.filled:.16f}",
        }
        yield gzip.compress(_dumps(message), compresslevel=6, mtime=0)


# ---- MARK: All of them ----


class _Source(NamedTuple):
    venue: str
    title: str
    generate: Callable[[str], Iterator[bytes]]


EVENTS = {
    "executionReport": _Source("binance-spot", "Binance Spot orders, 34 keys", _spot_orders),
    "executionReport-ws-api": _Source("binance-spot", "the same, wrapped by the WebSocket API", _ws_api),
    "ORDER_TRADE_UPDATE": _Source("binance-futures", "Binance futures orders", _futures_orders),
    "ACCOUNT_UPDATE": _Source("binance-futures", "Binance futures balances and positions", _futures_accounts),
    "outboundAccountPosition": _Source("binance-spot", "Binance Spot balances", _spot_balances),
    "bitget-orders": _Source("bitget", "Bitget futures orders, one a message", lambda seed: _bitget(seed, 1)),
    "bitget-orders-10": _Source("bitget", "Bitget futures orders, ten a message", lambda seed: _bitget(seed, 10)),
    "spot-mix": _Source("binance-spot", "a Binance Spot account's stream", _spot_mix),
    "futures-mix": _Source("binance-futures", "a Binance futures account's stream", _futures_mix),
}
VARIANTS = {
    "shuffled": _Source("binance-spot", "executionReport, keys in random order", _shuffled),
    "unknown-keys": _Source("binance-spot", "executionReport, all keys unknown and never the same", _unknown),
    "nesting": _Source("binance-spot", "executionReport and hostile nesting", _nesting),
    "gzip-frames": _Source("gzip-broker", "gzip frames of a white-label exchange's orders", _gzip_frames),
}


def workload(name: str, count: int = DISTINCT) -> Workload:
    """The messages of one name.

    Parameters
    ----------
    name : str
        A key of EVENTS or VARIANTS.
    count : int
        How many; fewer are the first of more.
    """
    source = {**EVENTS, **VARIANTS}[name]
    return Workload(name, source.venue, source.title, tuple(itertools.islice(source.generate(name), count)))
