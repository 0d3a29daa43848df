"""Events as Binance USD-M and COIN-M write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execwire.exchange.market import SCALE, fixed, places
from execwire.exchange.render_spot import STP, bool_

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execwire.exchange.market import Event, Market, Order, Plan, Position

__all__ = [
    "ALIAS",
    "account",
    "messages",
    "order_id",
    "order_row",
    "portfolio",
    "portfolio_rows",
    "position_row",
    "trade_row",
]

ALIAS = "fWuXsRuXfWuX"  # of the account, on COIN-M
_FIRST_PLAN = 9_100_000_000_000_000_000
_FIRST_ORDER = 8_389_766_200_000_000_000  # above 2^53


def order_id(order: Order) -> int:
    """The venue's number of an order."""
    return _FIRST_ORDER + order.number


def messages(event: Event, *, portfolio_margin: bool = False) -> list[tuple[str, bytes]]:
    """(event name, message), in order.

    Parameters
    ----------
    portfolio_margin : bool
        As Portfolio Margin writes them: marked as futures, and with fewer keys.
    """
    coin = (event.plan.instrument.settled_in if event.plan else event.balances[0].asset) != "USDT"
    head = f'"fs":"{"CM" if coin else "UM"}",' if portfolio_margin else f'"i":"{ALIAS}",' if coin else ""
    if event.plan is not None:  # the service for conditional orders is USD-M's
        return [] if coin else [("ALGO_UPDATE", _algo_update(event.plan, event, head))]
    out = []
    if event.kind != "order" or event.trade:
        out.append(("ACCOUNT_UPDATE", _account_update(event, head, portfolio_margin)))
    if event.kind == "order":
        if event.trade and not (coin or portfolio_margin):
            out.append(("TRADE_LITE", _trade_lite(event)))
        out.append(("ORDER_TRADE_UPDATE", _order_trade_update(event, head, coin, portfolio_margin)))
    return out


def _account_update(event: Event, head: str, portfolio_margin: bool) -> bytes:
    change = fixed(event.delta) if event.delta else "0"
    reason, symbol = "ORDER", ""
    if event.kind == "transfer":
        reason = "DEPOSIT" if event.delta > 0 else "WITHDRAW"
    elif event.kind == "funding":
        reason, symbol = "FUNDING_FEE", f',"S":"{event.positions[0].instrument.name}"'
    balances = ",".join(
        f'{{"a":"{asset}","wb":"{fixed(free + held)}","cw":"{fixed(free + held)}","bc":"{change}"}}'
        for asset, free, held in event.balances
    )
    held = () if event.kind == "funding" else event.positions  # crossed: balances only
    rows = ",".join(_position(one, portfolio_margin) for one in held)
    return (
        f'{{"e":"ACCOUNT_UPDATE","T":{event.at},"E":{event.at + 1},{head}'
        f'"a":{{"B":[{balances}],"P":[{rows}],"m":"{reason}"{symbol}}}}}'
    ).encode()


def _position(one: Position, portfolio_margin: bool) -> str:
    entry = one.entry
    even = fixed(entry * 10004 // 10000).rstrip("0").rstrip(".") if one.qty else "0"  # a bare number, on the wire
    return (
        f'{{"s":"{one.instrument.name}","pa":"{places(one.qty, one.instrument.qty_digits)}","ep":"{fixed(entry)}",'
        f'"cr":"{fixed(one.realized)}","up":"{fixed(one.unrealized)}",'
        + ("" if portfolio_margin else '"mt":"cross","iw":"0",')
        + '"ps":"BOTH",'
        + ("" if portfolio_margin else f'"ma":"{one.instrument.settled_in}",')
        + f'"bep":{even}}}'
    )


def _trade_lite(event: Event) -> bytes:
    order = event.order
    assert order is not None
    one = order.instrument
    return (
        f'{{"e":"TRADE_LITE","E":{event.at + 1},"T":{event.at},"s":"{one.name}",'
        f'"q":"{places(event.qty, one.qty_digits)}",'
        f'"p":"{places(order.price, one.price_digits)}","m":{bool_(event.maker)},"c":"{order.client_id}",'
        f'"S":"{"BUY" if order.buy else "SELL"}","L":"{places(event.last_price, one.price_digits)}",'
        f'"l":"{places(event.last_qty, one.qty_digits)}","t":{event.trade},"i":{order_id(order)}}}'
    ).encode()


def _order_trade_update(event: Event, head: str, coin: bool, portfolio_margin: bool) -> bytes:
    order = event.order
    assert order is not None
    one = order.instrument
    qty, price = one.qty_digits, one.price_digits
    type_ = order.type.removesuffix("_MAKER")
    fee = f'"N":"{event.fee_asset}","n":"{fixed(event.fee)}",' if event.trade else ""
    margin = f',"ma":"{one.settled_in}"' if coin else ""
    reason = "2" if event.execution == "EXPIRED" else "0"
    if portfolio_margin:
        trigger = close = ignored = ""
        tail = f'"V":"EXPIRE_NONE","pm":"PM_NONE","gtd":0{margin}'
    else:
        trigger, close = f'"wt":"CONTRACT_PRICE","ot":"{type_}",', '"cp":false,'
        ignored = '"pP":false,"si":0,"ss":0,'
        tail = f'"V":"{STP}","pm":"NONE","gtd":0{margin},"er":"{reason}"'
    bids, asks = (order.open, 0) if order.buy else (0, order.open)
    return (
        f'{{"e":"ORDER_TRADE_UPDATE","T":{event.at},"E":{event.at + 1},{head}"o":{{"s":"{one.name}",'
        f'"c":"{order.client_id}","S":"{"BUY" if order.buy else "SELL"}","o":"{type_}",'
        f'"f":"{"GTX" if order.type == "LIMIT_MAKER" else order.force}","q":"{places(event.qty, qty)}",'
        f'"p":"{places(order.price, price)}",'
        f'"ap":"{places(one.mean_price(event.quote, event.filled), price)}","sp":"0",'
        f'"x":"{"AMENDMENT" if event.execution == "REPLACED" else event.execution}","X":"{event.status}",'
        f'"i":{order_id(order)},"l":"{places(event.last_qty, qty)}","z":"{places(event.filled, qty)}",'
        f'"L":"{places(event.last_price, price)}",{fee}"T":{event.at},"t":{event.trade},'
        f'"b":"{places(one.value(order.limit, bids), 5)}","a":"{places(one.value(order.limit, asks), 5)}",'
        f'"m":{bool_(event.maker)},"R":{bool_(order.reduce_only)},{trigger}"ps":"BOTH",{close}'
        f'"rp":"{fixed(event.realized) if event.realized else "0"}",{ignored}{tail}}}}}'
    ).encode()


def _algo_update(plan: Plan, event: Event, head: str) -> bytes:
    one = plan.instrument
    order = plan.order
    done = event.status == "FINISHED"
    type_ = "STOP" if plan.price else "STOP_MARKET"
    child = "LIMIT" if plan.price else "MARKET"
    average = one.mean_price(order.quote, order.filled) if order is not None and done else 0
    return (
        f'{{"e":"ALGO_UPDATE","T":{event.at},"E":{event.at + 1},{head}"o":{{"caid":"{plan.client_id}",'
        f'"aid":{_FIRST_PLAN + plan.number},"at":"CONDITIONAL","o":"{type_}","s":"{one.name}",'
        f'"S":"{"BUY" if plan.buy else "SELL"}","ps":"BOTH","f":"GTC","q":"{places(plan.qty, one.qty_digits)}",'
        f'"X":"{event.status}","ai":"{order_id(order) if order is not None else ""}",'
        f'"ap":"{places(average, one.price_digits)}",'
        f'"aq":"{places(order.filled if order is not None and done else 0, one.qty_digits)}",'
        f'"act":"{child if order is not None else "0"}","tp":"{places(plan.trigger, one.price_digits)}",'
        f'"p":"{places(plan.price, one.price_digits)}","V":"{STP}","wt":"CONTRACT_PRICE","pm":"NONE","cp":false,'
        f'"pP":false,"R":{bool_(plan.reduce_only)},"tt":{plan.triggered},"gtd":0}}}}'
    ).encode()


# ==== REST ====


def order_row(order: Order) -> dict[str, object]:
    """A row of GET openOrders and allOrders."""
    one = order.instrument
    return {
        "orderId": order_id(order),
        "symbol": one.name,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": places(order.price, one.price_digits),
        "avgPrice": places(one.mean_price(order.quote, order.filled), one.price_digits),
        "origQty": places(order.qty, one.qty_digits),
        "executedQty": places(order.filled, one.qty_digits),
        "cumQuote": fixed(order.quote),
        "timeInForce": "GTX" if order.type == "LIMIT_MAKER" else order.force,
        "type": order.type.removesuffix("_MAKER"),
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": "BUY" if order.buy else "SELL",
        "positionSide": "BOTH",
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.type.removesuffix("_MAKER"),
        "priceMatch": "NONE",
        "selfTradePreventionMode": STP,
        "goodTillDate": 0,
        "time": order.created,
        "updateTime": order.updated,
    }


def trade_row(event: Event) -> dict[str, object]:
    """A row of GET userTrades."""
    order = event.order
    assert order is not None
    one = order.instrument
    return {
        "symbol": one.name,
        "id": event.trade,
        "orderId": order_id(order),
        "side": "BUY" if order.buy else "SELL",
        "price": places(event.last_price, one.price_digits),
        "qty": places(event.last_qty, one.qty_digits),
        "realizedPnl": fixed(event.realized),
        "quoteQty": fixed(event.last_quote),
        "commission": fixed(event.fee),
        "commissionAsset": event.fee_asset,
        "time": event.at,
        "positionSide": "BOTH",
        "buyer": order.buy,
        "maker": event.maker,
    }


def position_row(one: Position, leverage: int) -> dict[str, object]:
    """A row of GET positionRisk."""
    return {
        "symbol": one.instrument.name,
        "positionSide": "BOTH",
        "positionAmt": places(one.qty, one.instrument.qty_digits),
        "entryPrice": fixed(one.entry),
        "breakEvenPrice": fixed(one.entry * 10004 // 10000),
        "markPrice": fixed(one.mark),
        "unRealizedProfit": fixed(one.unrealized),
        "liquidationPrice": "0",
        "leverage": str(leverage),
        "marginType": "cross",
        "isolatedMargin": "0",
        "notional": fixed(one.instrument.value(one.mark, one.qty)),
        "marginAsset": one.instrument.settled_in,
        "updateTime": one.created,
    }


def account(market: Market, positions: Iterable[Position]) -> dict[str, object]:
    """GET account, with these positions."""
    assets = [_asset_row(market, one.asset, one.total, one.free, one.locked) for one in market.balances()]
    totals = {
        f"total{name[0].upper()}{name[1:]}": assets[0][name]
        for name in (
            "initialMargin", "maintMargin", "walletBalance", "unrealizedProfit", "marginBalance",
            "positionInitialMargin", "openOrderInitialMargin", "crossWalletBalance", "crossUnPnl",
        )
    }  # fmt: skip
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        **(totals if len(assets) == 1 else {}),  # only where all of it is of one asset
        "assets": assets,
        "positions": [position_row(one, market.leverage) for one in positions],
    }


def _asset_row(market: Market, asset: str, total: int, free: int, locked: int) -> dict[str, object]:
    held = [one for one in market.positions.values() if one.qty and one.instrument.settled_in == asset]
    unrealized = sum(one.unrealized for one in held)
    in_positions = sum(one.cost // market.leverage for one in held)
    return {
        "asset": asset,
        "walletBalance": fixed(total),
        "unrealizedProfit": fixed(unrealized),
        "marginBalance": fixed(total + unrealized),
        "maintMargin": fixed(sum(one.cost for one in held) * 4 // 1000),
        "initialMargin": fixed(locked),
        "positionInitialMargin": fixed(in_positions),
        "openOrderInitialMargin": fixed(locked - in_positions),
        "crossWalletBalance": fixed(total),
        "crossUnPnl": fixed(unrealized),
        "availableBalance": fixed(free),
        "maxWithdrawAmount": fixed(free),
        "marginAvailable": True,
        "updateTime": 0,
    }


def portfolio_rows(linear: Market, inverse: Market) -> list[dict[str, object]]:
    """GET balance of Portfolio Margin: one wallet an asset, of which each market keeps a part, and margin nothing."""
    parts = {"um": linear, "cm": inverse}
    rows = []
    for asset in dict.fromkeys(asset for market in parts.values() for asset in market.free):
        row: dict[str, object] = {}
        total = 0
        for name, market in parts.items():
            wallet = market.balance(asset).total if asset in market.free else 0
            held = [one for one in market.positions.values() if one.qty and one.instrument.settled_in == asset]
            row[f"{name}WalletBalance"] = fixed(wallet)
            row[f"{name}UnrealizedPNL"] = fixed(sum(one.unrealized for one in held))
            total += wallet
        margin = ("Asset", "Borrowed", "Free", "Interest", "Locked")
        rows.append(
            {
                "asset": asset,
                "totalWalletBalance": fixed(total),
                **{f"crossMargin{name}": fixed(0) for name in margin},
                **row,
                "updateTime": _last_time(linear, inverse),
                "negativeBalance": fixed(0),
            }
        )
    return rows


def portfolio(linear: Market, inverse: Market) -> dict[str, object]:
    """GET account of Portfolio Margin: all of it in USD, at the market's prices."""
    equity = initial = maintained = free = 0
    for market in (linear, inverse):
        for one in market.balances():
            price = linear.prices.get(f"{one.asset}USDT", SCALE)
            held = [its for its in market.positions.values() if its.qty and its.instrument.settled_in == one.asset]
            equity += (one.total + sum(its.unrealized for its in held)) * price // SCALE
            initial += one.locked * price // SCALE
            maintained += sum(its.cost for its in held) * 4 // 1000 * price // SCALE
            free += one.free * price // SCALE
    return {
        "uniMMR": fixed(equity * SCALE // maintained) if maintained else "99999999",
        "accountEquity": fixed(equity),
        "actualEquity": fixed(equity),
        "accountInitialMargin": fixed(initial),
        "accountMaintMargin": fixed(maintained),
        "accountStatus": "NORMAL",
        "virtualMaxWithdrawAmount": fixed(free),
        "totalAvailableBalance": fixed(free),
        "totalMarginOpenLoss": "0",
        "updateTime": _last_time(linear, inverse),
    }


def _last_time(*markets: Market) -> int:
    return max((market.history[-1].at for market in markets if market.history), default=0)
