"""Events as openapi brokers write them: arrays of events, ids and times as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from execwire.exchange.market import fixed, places
from execwire.exchange.render_bitget import liquidation
from execwire.exchange.render_spot import bool_
from execwire.exchange.ws_api import filters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execwire.exchange.market import Balance, Event, Instrument, Market, Order, Plan, Position

__all__ = ["PERPETUAL", "SPOT", "SWAP", "account", "balances", "exchange_info", "frames", "order_row", "positions",
           "symbol_of", "trade_row"]  # fmt: skip

# How a broker names what is traded: HashKey's contracts, and everybody else's.
SPOT, SWAP, PERPETUAL = "", "{base}-SWAP-{quote}", "{name}-PERPETUAL"
_ORDER, _TRADE, _ACCOUNT = 1_099_511_000_000_000_000, 1_099_511_001_000_000_000, 9_000_000_000_000_000_123
_EIGHTEEN = "0000000000"  # contract accounts have 18 decimals


def frames(event: Event, market: Market, contracts: str = SWAP) -> list[bytes]:
    """The frames of an event, in order.

    Parameters
    ----------
    contracts : str
        How contracts are named: `SWAP` or `PERPETUAL`.
    """
    form = SPOT if market.kind == "spot" else contracts
    if event.plan is not None:
        return [orjson.dumps([_plan(event.plan, event, form)])]
    out = []
    if event.order is not None:
        out.append(_order(event, form))
        if event.trade:
            out.append(_ticket(event, form))
    if event.balances:
        out.append(_account_info(event, not form))
    out += [text for one in event.positions for text in _position(one, event, market.leverage, form)]
    return [f"[{text}]".encode() for text in out]


def _id(order: Order) -> int:
    return _ORDER + order.number


def symbol_of(one: Instrument, form: str) -> str:
    """What it is called."""
    return form.format(name=one.name, base=one.base, quote=one.quote) if form else one.name


def _side(order: Order | Plan, form: str) -> str:
    side = "BUY" if order.buy else "SELL"
    return f"{side}_{'CLOSE' if order.reduce_only else 'OPEN'}" if form else side


def _order(event: Event, form: str) -> str:
    order = event.order
    assert order is not None
    one = order.instrument
    status = "CANCELED" if event.status == "EXPIRED" else event.status
    text = (
        f'{{"e":"{"contractExecutionReport" if form else "executionReport"}","E":"{event.at}",'
        f'"s":"{symbol_of(one, form)}","c":"{order.client_id}","S":"{_side(order, form)}",'
        f'"o":"{order.type}","f":"{order.force}","q":"{places(event.qty, one.qty_digits)}",'
        f'"p":"{places(order.price, one.price_digits)}","pt":"{"INPUT" if order.price else "MARKET"}","X":"{status}",'
        f'"i":"{_id(order)}","l":"{places(event.last_qty, one.qty_digits)}",'
        f'"z":"{places(event.filled, one.qty_digits)}","L":"{places(event.last_price, one.price_digits)}",'
        f'"n":"{fixed(event.fee) if event.trade else "0"}","N":"{event.fee_asset}","u":true,'
        f'"w":{bool_(event.status in ("NEW", "PARTIALLY_FILLED"))},"m":{bool_(event.maker)},"O":"{order.created}",'
        f'"U":"{event.at}","Z":"{fixed(event.quote)}","A":"{_ACCOUNT}","C":{bool_(order.reduce_only)},'
    )
    if form:
        text += f'"v":"20","mt":"CROSS","rp":"{fixed(event.realized)}",'
    if event.trade:
        text += f'"d":"{_TRADE + event.trade}",'
    return text + (
        f'"r":"{places(event.qty - event.filled, one.qty_digits)}",'
        f'"V":"{places(one.mean_price(event.quote, event.filled), one.price_digits)}","M":"0"}}'
    )


def _ticket(event: Event, form: str) -> str:
    order = event.order
    assert order is not None
    one = order.instrument
    return (
        f'{{"e":"ticketInfo","E":"{event.at}","s":"{symbol_of(one, form)}",'
        f'"q":"{places(event.last_qty, one.qty_digits)}","t":"{event.at}",'
        f'"p":"{places(event.last_price, one.price_digits)}","T":"{_TRADE + event.trade}","o":"{_id(order)}",'
        f'"c":"{order.client_id}","O":"0","a":"{_ACCOUNT}","A":0,"m":{bool_(event.maker)},'
        f'"S":"{_side(order, SPOT)}"}}'  # plain, also of contracts
    )


_PLAN_STATUS = {"NEW": "ORDER_NEW", "TRIGGERING": "ORDER_NEW", "CANCELED": "ORDER_CANCELED"}


def _plan(plan: Plan, event: Event, form: str) -> dict[str, Any]:
    one, order = plan.instrument, plan.order
    symbol = symbol_of(one, form)
    number = str(_ORDER + plan.number)
    return {
        "eventType": "planExecutionReport",
        "time": str(plan.created),
        "orderId": number,
        "accountId": str(_ACCOUNT),
        "brokerUserId": "4910000000000000197",
        "clientOrderId": plan.client_id,
        "symbolId": symbol,
        "symbolName": one.name,
        "baseTokenId": symbol,
        "baseTokenName": symbol,
        "quoteTokenId": one.quote,
        "quoteTokenName": one.quote,
        "price": places(plan.price, one.price_digits),
        "origQty": places(plan.qty, one.qty_digits),
        "type": "STOP",
        "planOrderType": "STOP_COMMON",
        "side": _side(plan, form),
        "status": _PLAN_STATUS.get(event.status, "ORDER_FILLED"),
        "triggerPrice": places(plan.trigger, one.price_digits),
        "quotePrice": places(plan.trigger, one.price_digits),
        "executedOrderId": str(_id(order)) if order is not None else "0",
        "executedPrice": places(one.mean_price(order.quote, order.filled), one.price_digits) if order else "0",
        "executedQty": places(order.filled, one.qty_digits) if order else "0",
        "updateTime": str(event.at),
        "priceType": "INPUT" if plan.price else "MARKET_PRICE",
        "quotePriceType": 2,
        "leverage": "20",
        "spOrderId": "0",
        "slOrderId": "0",
        "openOrdinaryOrderId": "0",
        "openOrderId": "0",
        "triggerType": 0,
        "activePrice": "0",
        "fallType": 0,
        "fallQuantity": "0",
        "activeStatus": 0,
        "triggerDelay": 0,
        "marginType": "CROSS",
        "isGuaranteedPrice": 0,
    }


def _balance(one: Balance, spot: bool) -> str:
    tail = "" if spot else _EIGHTEEN
    extra = "" if spot else ',"r":""'
    return f'{{"a":"{one.asset}","f":"{fixed(one.free)}{tail}","l":"{fixed(one.locked)}{tail}"{extra}}}'


def _account_info(event: Event, spot: bool) -> str:
    rows = ",".join(_balance(one, spot) for one in event.balances)
    name, extra = ("outboundAccountInfo", "") if spot else ("outboundContractAccountInfo", f'"u":"{event.at}",')
    return f'{{"e":"{name}","E":"{event.at}","T":true,"W":true,"D":true,{extra}"B":[{rows}]}}'


def _position(one: Position, event: Event, leverage: int, form: str) -> list[str]:
    """One row; two when a fill has turned the position around."""
    rows = []
    if one.before and one.before * one.qty <= 0 and event.trade:
        rows.append(_position_row(one, event, leverage, form, "LONG" if one.before > 0 else "SHORT", 0))
    if one.qty or not rows:
        rows.append(_position_row(one, event, leverage, form, "SHORT" if one.qty < 0 else "LONG", abs(one.qty)))
    return rows


def _position_row(one: Position, event: Event, leverage: int, form: str, side: str, qty: int) -> str:
    instrument = one.instrument
    size = places(qty, instrument.qty_digits)
    margin = one.cost // leverage if qty else 0
    return (
        f'{{"e":"outboundContractPositionInfo","E":"{event.at}","A":"{_ACCOUNT}",'
        f'"s":"{symbol_of(instrument, form)}","S":"{side}",'
        f'"p":"{fixed(one.entry if qty else 0)}","P":"{size}","a":"{size}",'
        f'"f":"{liquidation(one) if qty else "0"}","m":"{fixed(margin)}","r":"{fixed(one.realized)}",'
        f'"up":"{fixed(one.unrealized if qty else 0)}","pr":"0","pv":"{fixed(one.cost if qty else 0)}",'
        f'"v":"{leverage}","mt":"CROSS","mm":"{fixed(margin // 5)}","mp":"{fixed(one.mark)}{_EIGHTEEN}","rr":"0"}}'
    )


# ==== REST ====


def exchange_info(spot: Market, linear: Market, now: int, forms: Sequence[str]) -> dict[str, Any]:
    """GET exchangeInfo, or brokerInfo: symbols and contracts, each as it is named in events.

    Parameters
    ----------
    forms : sequence of str
        How contracts are named; of several, each is listed in every way, for clients that know one of them.
    """

    def row(one: Instrument, form: str) -> dict[str, Any]:
        symbol = symbol_of(one, form)
        return {
            "symbol": symbol,
            "symbolName": symbol if form == PERPETUAL else one.name,
            "status": "TRADING",
            "baseAsset": symbol if form else one.base,  # a contract is its own; what it is about is `underlying`
            "baseAssetName": symbol if form else one.base,
            "baseAssetPrecision": places(10 ** (8 - one.qty_digits), one.qty_digits),
            "quoteAsset": one.quote,
            "quoteAssetName": one.quote,
            "quotePrecision": places(10 ** (8 - one.price_digits), one.price_digits),
            "filters": filters(one.price_digits, one.qty_digits),
        }

    def contract(one: Instrument, form: str) -> dict[str, Any]:
        terms = {
            "inverse": False,
            "marginToken": one.settled_in,
            "underlying": one.base,
            "contractMultiplier": "1",
            "index": one.name,
            "indexToken": one.name,
        }
        limit = {
            "riskLimitId": "200000001",
            "quantity": "1000000.00",
            "initialMargin": f"{1 / linear.leverage:.2f}",
            "maintMargin": "0.01",
            "isWhite": False,
        }
        return row(one, form) | terms | {"riskLimits": [limit]}

    return {
        "timezone": "UTC",
        "serverTime": str(now),
        "brokerFilters": [],
        "symbols": [row(one, SPOT) for one in spot.instruments],
        "contracts": [contract(one, form) for form in forms for one in linear.instruments],
        "options": [],
        "coins": [],
    }


def account(market: Market, now: int) -> dict[str, Any]:
    """GET account."""
    return {
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "updateTime": str(now),
        "balances": [
            {"asset": one.asset, "free": fixed(one.free), "locked": fixed(one.locked), "total": fixed(one.total)}
            for one in market.balances()
        ],
    }


def order_row(order: Order, form: str = SPOT) -> dict[str, Any]:
    """A row of GET openOrders."""
    one = order.instrument
    row = {
        "orderId": str(_id(order)),
        "clientOrderId": order.client_id,
        "symbol": symbol_of(one, form),
        "price": places(order.price, one.price_digits),
        "origQty": places(order.qty, one.qty_digits),
        "executedQty": places(order.filled, one.qty_digits),
        "avgPrice": places(one.mean_price(order.quote, order.filled), one.price_digits),
        "status": order.status,
        "timeInForce": order.force,
        "type": order.type,
        "side": _side(order, form),
        "time": str(order.created),
        "updateTime": str(order.updated),
    }
    if form:
        return row | {"leverage": "20", "priceType": "INPUT" if order.price else "MARKET", "isLiquidationOrder": False}
    return row | {"cummulativeQuoteQty": fixed(order.quote), "isWorking": True}


def trade_row(event: Event, form: str = SPOT) -> dict[str, Any]:
    """A row of GET myTrades, of contracts userTrades."""
    order = event.order
    assert order is not None
    one = order.instrument
    row: dict[str, Any] = {
        "id": str(_TRADE + event.trade),
        "symbol": symbol_of(one, form),
        "orderId": str(_id(order)),
        "price": places(event.last_price, one.price_digits),
        "qty": places(event.last_qty, one.qty_digits),
        "commission": fixed(event.fee),
        "commissionAsset": event.fee_asset,
        "time": str(event.at),
        "isMaker": event.maker,
    }
    if not form:
        return row | {"isBuyer": order.buy}
    row |= {"type": order.type, "side": _side(order, form), "realizedPnl": fixed(event.realized), "makerRebate": "0"}
    if form == PERPETUAL:  # some words are HashKey's own
        row |= {"tradeId": row.pop("id"), "quantity": row.pop("qty"), "isMarker": row.pop("isMaker")}
    return row


def balances(market: Market) -> list[dict[str, Any]]:
    """GET futures/balance."""
    rows = []
    for one in market.balances():
        held = [its for its in market.positions.values() if its.qty and its.instrument.settled_in == one.asset]
        in_positions = sum(its.cost // market.leverage for its in held)
        rows.append(
            {
                "asset": one.asset,
                "balance": fixed(one.total),
                "availableBalance": fixed(one.free),
                "positionMargin": fixed(in_positions),
                "orderMargin": fixed(one.locked - in_positions),
                "crossUnRealizedPnl": fixed(sum(its.unrealized for its in held)),
            }
        )
    return rows


def positions(market: Market, form: str) -> list[dict[str, Any]]:
    """GET futures/positions."""
    return [
        {
            "symbol": symbol_of(one.instrument, form),
            "side": "LONG" if one.qty > 0 else "SHORT",
            "avgPrice": fixed(one.entry),
            "position": places(abs(one.qty), one.instrument.qty_digits),
            "available": places(abs(one.qty), one.instrument.qty_digits),
            "leverage": str(market.leverage),
            "lastPrice": fixed(one.mark),
            "markPrice": fixed(one.mark),
            "positionValue": fixed(one.cost),
            "liquidationPrice": liquidation(one),
            "margin": fixed(one.cost // market.leverage),
            "marginRate": "",
            "unrealizedPnL": fixed(one.unrealized),
            "profitRate": "0",
            "realizedPnL": fixed(one.realized),
            "minMargin": fixed(one.cost // market.leverage // 5),
        }
        for one in market.positions.values()
        if one.qty
    ]
