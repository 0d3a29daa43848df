"""Events as Bitget writes them: rows of channels, v2 classic, unified account, v1, and the other names of v1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execwire.exchange.market import Balance, fixed, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from execwire.exchange.market import Event, Market, Order, Plan, Position

__all__ = ["COIN_M", "USDT_M", "liquidation", "order_id", "rows", "rows_uta", "rows_v1", "rows_v1_other", "snapshot",
           "symbol_v1", "usd"]  # fmt: skip

USDT_M, COIN_M = "USDT-FUTURES", "COIN-FUTURES"
_ORDER, _TRADE, _POSITION = 1_385_553_000_000_000_000, 1_385_553_001_000_000_000, 1_385_553_002_000_000_000
_USD_RATE = {"USDT": 10**8, "BTC": 91_250 * 10**8, "ETH": 3_120 * 10**8, "SOL": 187 * 10**8}
_SOURCE = "API"
_V1_SUFFIX = {"SPOT": "_SPBL", USDT_M: "_UMCBL", COIN_M: "_DMCBL"}

Row = dict[str, object]


def order_id(order: Order) -> str:
    """The venue's id of an order."""
    return str(_ORDER + order.number * 1009)


def symbol_v1(name: str, product: str) -> str:
    """A symbol as v1 writes it."""
    return name.removesuffix("_PERP") + _V1_SUFFIX[product]


def _trade_id(event: Event) -> str:
    return str(_TRADE + event.trade)


def _force(order: Order) -> str:
    return "post_only" if order.type == "LIMIT_MAKER" else order.force.lower()


def _status(event: Event, canceled: str) -> str:
    if event.status in ("CANCELED", "EXPIRED", "REJECTED"):
        return canceled
    return {"NEW": "live", "PARTIALLY_FILLED": "partially_filled", "FILLED": "filled"}[event.status]


def _side(order: Order) -> str:
    return "buy" if order.buy else "sell"


def usd(asset: str, amount: int) -> int:
    """What an amount of an asset is worth."""
    return amount * _USD_RATE.get(asset, 10**8) // 10**8


# ==== v2, classic account ====


def rows(event: Event, channel: str, product: str, market: Market) -> list[Row] | None:
    """What a channel has to say about an event; None: nothing.

    Parameters
    ----------
    channel : {"orders", "orders-algo", "fill", "account", "positions"}
    product : {"SPOT", "USDT-FUTURES", "COIN-FUTURES"}
    """
    if channel == "orders":
        return [_order(event, product)] if event.order is not None else None
    if channel in ("orders-algo", "ordersAlgo"):
        return [_plan(event.plan, event)] if event.plan is not None else None
    if channel == "fill":
        return [_fill(event, product)] if event.trade else None
    if channel == "account":
        return [_account(one, event.at, product, market) for one in event.balances] or None
    if channel == "positions" and (event.trade or event.kind == "funding"):
        return positions(market, event.at)
    return None


def snapshot(channel: str, product: str, market: Market, now: int) -> list[Row] | None:
    """What a channel says when it is subscribed; None: nothing."""
    if channel == "account":
        return [_account(one, now, product, market) for one in market.balances()]
    return positions(market, now) if channel == "positions" else None


def _order(event: Event, product: str) -> Row:
    order = event.order
    assert order is not None
    one = order.instrument
    spot = product == "SPOT"
    qty, price = one.qty_digits, one.price_digits
    row: Row = {
        "accBaseVolume": places(event.filled, qty),
        "cTime": str(order.created),
        "clientOid": order.client_id,
        "enterPointSource": _SOURCE,
        "feeDetail": [{"feeCoin": order.fee_asset, "fee": fixed(-event.fees)}] if event.fees else [],
    }
    if event.trade:
        row |= {"fillFee": fixed(-event.fee), "fillFeeCoin": event.fee_asset}
        if not spot:
            row["fillNotionalUsd"] = places(usd(one.settled_in, event.last_quote), 4)
        row |= {"fillPrice": places(event.last_price, price), "baseVolume": places(event.last_qty, qty),
                "fillTime": str(event.at)}  # fmt: skip
    row |= {"force": _force(order), "instId": one.name}
    if not spot:
        row |= {
            "leverage": "20",
            "marginCoin": one.settled_in,
            "marginMode": "crossed",
            "notionalUsd": places(usd(one.settled_in, one.value(order.limit, event.qty)), 4),
        }
    elif order.type == "MARKET" and order.buy:
        row["notional"] = fixed(one.value(order.limit, event.qty))
    row |= {"orderId": order_id(order), "orderType": "market" if order.type == "MARKET" else "limit"}
    if not spot:
        if event.trade:
            row["pnl"] = fixed(event.realized)
        row |= {"posMode": "one_way_mode", "posSide": "net"}
    if order.price:
        row["price"] = places(order.price, price)
    canceled = event.status in ("CANCELED", "EXPIRED")
    if spot:
        row["priceAvg"] = places(one.mean_price(event.quote, event.filled), price) if event.filled else "0.00"
    elif event.filled and not canceled:
        row["priceAvg"] = places(one.mean_price(event.quote, event.filled), price)
    if not spot:
        row["reduceOnly"] = "yes" if order.reduce_only else "no"
    row |= {"side": _side(order), "size": places(event.qty, qty)}
    if not spot:
        row |= {
            "presetStopSurplusPrice": "",
            "presetStopSurplusType": "",
            "presetStopSurplusExecutePrice": "",
            "presetStopLossPrice": "",
            "presetStopLossType": "",
            "presetStopLossExecutePrice": "",
            "totalProfits": fixed(event.realized),
            "cancelReason": "normal_cancel" if canceled else "",
        }
    row |= {"status": _status(event, "cancelled" if spot else "canceled"), "stpMode": "cancel_taker"}
    if event.trade:
        row |= {"tradeId": _trade_id(event), "tradeScope": "M" if event.maker else "T"}
    if not spot:
        row["tradeSide"] = f"{_side(order)}_single"
    row["uTime"] = str(event.at)
    return row


def _fill(event: Event, product: str) -> Row:
    order = event.order
    assert order is not None
    one = order.instrument
    spot = product == "SPOT"
    fee = {
        "feeCoin": event.fee_asset,
        "deduction": "no",
        "totalDeductionFee": "0",
        "totalFee": fixed(event.fee if spot else -event.fee),
    }
    row: Row = {
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "tradeId": _trade_id(event),
        "symbol": one.name,
        "orderType": "market" if order.type == "MARKET" else "limit",
        "side": _side(order),
        "tradeScope": "maker" if event.maker else "taker",
        "feeDetail": [fee],
        "cTime": str(event.at),
        "uTime": str(event.at),
    }
    price, qty = places(event.last_price, one.price_digits), places(event.last_qty, one.qty_digits)
    if spot:
        return row | {"priceAvg": price, "size": qty, "amount": fixed(event.last_quote)}
    return row | {
        "posMode": "one_way_mode",
        "price": price,
        "baseVolume": qty,
        "quoteVolume": fixed(event.last_quote),
        "profit": fixed(event.realized),
        "tradeSide": f"{_side(order)}_single",
    }


_PLAN_STATUS = {"NEW": "live", "TRIGGERING": "executing", "CANCELED": "cancelled"}


def _plan(plan: Plan, event: Event) -> Row:
    one = plan.instrument
    row: Row = {
        "instId": one.name,
        "orderId": str(_ORDER + plan.number * 1009),
        "clientOid": plan.client_id,
        "triggerPrice": fixed(plan.trigger) + "0",
        "triggerType": "fill_price",
        "planType": "pl",
        "price": fixed(plan.price) + "0",
        "executePrice": fixed(plan.price) + "0",
        "size": fixed(plan.qty) + "0",
        "actualSize": fixed(plan.order.qty if plan.order is not None else 0) + "0",
        "orderType": "limit" if plan.price else "market",
        "side": "buy" if plan.buy else "sell",
        "status": _PLAN_STATUS.get(event.status, "executed"),
        "tradeSide": f"{'buy' if plan.buy else 'sell'}_single",
        "posSide": "net",
        "marginCoin": one.settled_in,
        "posMode": "one_way_mode",
        "enterPointSource": _SOURCE,
        "stopSurplusPrice": "",
        "stopSurplusTriggerPrice": "",
        "stopSurplusTriggerType": "fill_price",
        "stopLossPrice": "",
        "stopLossTriggerPrice": "",
        "stopLossTriggerType": "fill_price",
        "stpMode": "none",
        "cTime": str(plan.created),
        "uTime": str(event.at),
    }
    return row | ({"triggerTime": str(plan.triggered)} if plan.triggered else {})


def _account(balance: Balance, now: int, product: str, market: Market) -> Row:
    asset, free, locked = balance
    if product == "SPOT":
        return {
            "coin": asset,
            "available": fixed(free),
            "frozen": fixed(locked),
            "locked": "0",
            "limitAvailable": "0",
            "uTime": str(now),
        }
    profit = sum(one.unrealized for one in market.positions.values() if one.instrument.settled_in == asset)
    return {
        "marginCoin": asset,
        "frozen": fixed(locked),
        "available": fixed(free),
        "maxOpenPosAvailable": fixed(free),
        "maxTransferOut": fixed(free),
        "equity": fixed(balance.total + profit),
        "usdtEquity": fixed(usd(asset, balance.total + profit)),
        "crossedRiskRate": "0.0123",
        "unrealizedPL": fixed(profit),
        "unionTotalMargin": fixed(balance.total),
        "unionAvailable": fixed(free),
        "unionMm": "0",
        "assetsMode": "single",
    }


def positions(market: Market, now: int) -> list[Row]:
    """All open positions: what the channel always sends."""
    return [_position(one, now, market.leverage) for one in market.positions.values() if one.qty]


def _position(one: Position, now: int, leverage: int) -> Row:
    digits = one.instrument.qty_digits
    entry = one.entry
    long = one.qty > 0
    return {
        "posId": str(_POSITION + one.number),
        "instId": one.instrument.name,
        "marginCoin": one.instrument.settled_in,
        "marginSize": fixed(one.cost // leverage),
        "marginMode": "crossed",
        "holdSide": "long" if long else "short",
        "posMode": "one_way_mode",
        "total": places(abs(one.qty), digits),
        "available": places(abs(one.qty), digits),
        "frozen": "0",
        "openPriceAvg": fixed(entry),
        "leverage": leverage,
        "achievedProfits": fixed(one.realized),
        "unrealizedPL": fixed(one.unrealized),
        "unrealizedPLR": fixed(one.unrealized * 10**8 * leverage // one.cost if one.cost else 0),
        "liquidationPrice": liquidation(one) + "000000000001",
        "keepMarginRate": "0.004",
        "marginRate": "0.0123",
        "breakEvenPrice": fixed(entry * (10008 if long else 9992) // 10000),
        "totalFee": fixed(one.funding) if one.funding else "",
        "deductedFee": fixed(one.fees),
        "markPrice": fixed(one.mark),
        "assetMode": "single",
        "autoMargin": "off",
        "cTime": str(one.created),
        "uTime": str(now),
    }


def liquidation(one: Position) -> str:
    """An invented liquidation price: where the margin of twenty times leverage is used up."""
    return fixed(one.entry * (9550 if one.qty > 0 else 10450) // 10000)


# ==== Unified account ====


def rows_uta(
    event: Event, topic: str, product: str, market: Market, markets: Sequence[Market] = ()
) -> list[Row] | None:
    """What a topic of the unified account has to say; None: nothing. `markets`: all of the account's."""
    if topic == "order":
        return [_uta_order(event, product)] if event.order is not None else None
    if topic in ("fill", "fast-fill"):
        return [_uta_fill(event, product, topic == "fill")] if event.trade else None
    if topic == "account":
        changed = {one.asset for one in event.balances}
        others = [one for its in markets if its is not market for one in its.balances() if one.asset in changed]
        return [_uta_account([*event.balances, *others])] if event.balances else None
    if topic == "position" and (event.trade or event.kind == "funding"):
        return [_uta_position(one, event.at, market.leverage) for one in event.positions] or None
    return None


def snapshot_uta(topic: str, markets: list[Market], now: int) -> list[Row] | None:
    """What a topic says when it is subscribed; None: nothing."""
    if topic == "account":
        return [_uta_whole_account(markets)]
    if topic == "position":
        held = [(one, market) for market in markets for one in market.positions.values() if one.qty]
        return [_uta_position(one, now, market.leverage) for one, market in held]
    return None


def _uta_order(event: Event, product: str) -> Row:
    order = event.order
    assert order is not None
    one = order.instrument
    futures = product != "SPOT"
    return {
        "category": product.lower(),
        "symbol": one.name,
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "price": places(order.price, one.price_digits) if order.price else "",
        "qty": places(event.qty, one.qty_digits),
        "amount": "",
        "holdMode": "one_way_mode" if futures else "",
        "holdSide": "net" if futures else "",
        "tradeSide": "",
        "orderType": "market" if order.type == "MARKET" else "limit",
        "timeInForce": _force(order),
        "side": _side(order),
        "marginMode": "crossed" if futures else "",
        "marginCoin": one.settled_in if futures else "",
        "reduceOnly": "yes" if order.reduce_only else "no",
        "cumExecQty": places(event.filled, one.qty_digits),
        "cumExecValue": fixed(event.quote),
        "avgPrice": places(one.mean_price(event.quote, event.filled), one.price_digits),
        "totalProfit": fixed(event.realized) if futures else "",
        "orderStatus": "new" if event.execution == "REPLACED" else _status(event, "cancelled"),
        "cancelReason": "normal_cancel" if event.status in ("CANCELED", "EXPIRED") else "",
        "leverage": "20" if futures else "",
        "feeDetail": [{"feeCoin": order.fee_asset, "fee": fixed(event.fees)}] if event.fees else [],
        "stpMode": "none",
        "tpTriggerBy": "",
        "slTriggerBy": "",
        "takeprofit": "",
        "stoploss": "",
        "tpOrderType": "",
        "slOrderType": "",
        "tpLimitPrice": "",
        "slLimitPrice": "",
        "createdTime": str(order.created),
        "updatedTime": str(event.at),
    }


def _uta_fill(event: Event, product: str, fees: bool) -> Row:
    order = event.order
    assert order is not None
    one = order.instrument
    row: Row = {
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "execId": _trade_id(event),
        "category": product.upper(),
        "symbol": one.name,
        "side": _side(order),
        "holdSide": "net" if product != "SPOT" else "",
        "execPrice": places(event.last_price, one.price_digits),
        "execQty": places(event.last_qty, one.qty_digits),
        "tradeScope": "maker" if event.maker else "taker",
        "execTime": str(event.at),
        "updatedTime": str(event.at),
    }
    if fees:
        row |= {
            "execLinkId": _trade_id(event),
            "orderType": "market" if order.type == "MARKET" else "limit",
            "execValue": fixed(event.last_quote),
            "execPnl": fixed(event.realized),
            "tradeSide": "",
            "isRPI": "no",
            "feeDetail": [{"feeCoin": event.fee_asset, "fee": fixed(event.fee)}],
        }
    return row


def _uta_position(one: Position, now: int, leverage: int) -> Row:
    digits = one.instrument.qty_digits
    over = not one.qty
    entry = one.entry

    def number(amount: int) -> str:
        return "" if over else fixed(amount)

    return {
        "symbol": one.instrument.name,
        "marginCoin": one.instrument.settled_in,
        "marginSize": number(one.cost // leverage),
        "marginMode": "crossed",
        "holdMode": "one_way_mode",
        "posSide": "long" if one.qty > 0 or (over and one.before > 0) else "short",
        "positionStatus": "ended" if over else "opening",
        "size": "" if over else places(abs(one.qty), digits),
        "available": "" if over else places(abs(one.qty), digits),
        "frozen": "" if over else "0",
        "avgPrice": number(entry),
        "leverage": str(leverage),
        "curRealisedPnl": fixed(one.realized),
        "unrealisedPnl": number(one.unrealized),
        "liqPrice": "" if over else liquidation(one),
        "mmr": "" if over else "0.004",
        "markPrice": fixed(one.mark),
        "breakEvenPrice": number(entry * (10008 if one.qty > 0 else 9992) // 10000),
        "profitRate": number(one.unrealized * 10**8 * leverage // one.cost if one.cost else 0),
        "totalFundingFee": fixed(one.funding) if one.funding else "",
        "openFeeTotal": fixed(-one.fees),
        "closeFeeTotal": "0",
        "createdTime": str(one.created),
        "updatedTime": str(now),
    }


def _uta_whole_account(markets: Iterable[Market]) -> Row:
    return _uta_account([one for market in markets for one in market.balances()])


def _uta_account(parts: list[Balance]) -> Row:
    """One account, of which each market keeps a part."""
    assets = dict.fromkeys(one.asset for one in parts)
    balances = [
        Balance(
            asset,
            sum(one.free for one in parts if one.asset == asset),
            sum(one.locked for one in parts if one.asset == asset),
        )
        for asset in assets
    ]
    total = sum(usd(one.asset, one.total) for one in balances)
    return {
        "totalEquity": fixed(total),
        "effEquity": fixed(total),
        "mmr": "0",
        "imr": "0",
        "mgnRatio": "0",
        "positionMgnRatio": "0",
        "unrealisedPnL": "0",
        "coin": [
            {
                "coin": one.asset,
                "balance": fixed(one.total),
                "locked": fixed(one.locked),
                "equity": fixed(one.total),
                "usdValue": fixed(usd(one.asset, one.total)),
                "available": fixed(one.free),
                "borrow": "0",
                "debts": "0",
                "bonus": "0",
            }
            for one in balances
        ],
    }


# ==== v1, the official names ====


def rows_v1(event: Event, channel: str, product: str, market: Market) -> list[Row] | None:
    """What a channel of v1 has to say; None: nothing."""
    if channel == "orders":
        return [_v1_order(event, product)] if event.order is not None else None
    if channel == "ordersAlgo":
        return [_v1_plan(event.plan, event, product)] if event.plan is not None else None
    if channel == "account":
        return [_v1_account(one, event.at, product, market) for one in event.balances] or None
    if channel == "positions" and (event.trade or event.kind == "funding"):
        return _v1_positions(market, event.at, product)
    return None


def snapshot_v1(channel: str, product: str, market: Market, now: int) -> list[Row] | None:
    """What a channel of v1 says when it is subscribed; None: nothing."""
    if channel == "account":
        return [_v1_account(one, now, product, market) for one in market.balances()]
    return _v1_positions(market, now, product) if channel == "positions" else None


def _v1_order(event: Event, product: str) -> Row:
    order = event.order
    assert order is not None
    one = order.instrument
    spot = product == "SPOT"
    row: Row = {
        "instId": symbol_v1(one.name, product),
        "ordId": order_id(order),
        "clOrdId": order.client_id,
        "px": places(order.limit, one.price_digits),
        "sz": places(event.qty, one.qty_digits),
        "ordType": "market" if order.type == "MARKET" else "limit",
        "force": "post_only"
        if order.type == "LIMIT_MAKER"
        else {"GTC": "normal"}.get(order.force, order.force.lower()),
        "side": _side(order),
        "accFillSz": places(event.filled, one.qty_digits),
        "status": {
            "NEW": "new",
            "PARTIALLY_FILLED": "partial-fill",
            "FILLED": "full-fill",
        }.get(event.status, "cancelled"),
        "eps": _SOURCE,
        "cTime": order.created,
        "uTime": event.at,
        "orderFee": [{"feeCcy": order.fee_asset, "fee": fixed(-event.fees)}] if event.fees else [],
    }
    if spot:
        row["notional"] = fixed(one.value(order.limit, event.qty))
        row["avgPx"] = places(one.mean_price(event.quote, event.filled), one.price_digits) if event.filled else "0.00"
    else:
        row |= {
            "lever": "20",
            "posSide": "net",
            "tdMode": "cross",
            "tgtCcy": one.settled_in,
            "notionalUsd": places(usd(one.settled_in, one.value(order.limit, event.qty)), 4),
            "hM": "single_hold",
            "tS": f"{_side(order)}_single",
            "low": order.reduce_only,
        }
        if event.filled:
            row["avgPx"] = places(one.mean_price(event.quote, event.filled), one.price_digits)
    if event.trade:
        row |= {
            "fillPx": places(event.last_price, one.price_digits),
            "tradeId": _trade_id(event),
            "fillSz": places(event.last_qty, one.qty_digits),
            "fillTime": str(event.at),
            "fillFee": fixed(-event.fee),
            "fillFeeCcy": event.fee_asset,
            "execType": "M" if event.maker else "T",
        }
        if not spot:
            row |= {"pnl": fixed(event.realized), "fillNotionalUsd": places(usd(one.settled_in, event.last_quote), 4)}
    return row


_V1_PLAN_STATE = {"NEW": "not_trigger", "TRIGGERING": "not_trigger", "CANCELED": "cancel"}


def _v1_plan(plan: Plan, event: Event, product: str) -> Row:
    one = plan.instrument
    number = _ORDER + plan.number * 1009
    return {
        "id": str(number),
        "cOid": plan.client_id,
        "instId": symbol_v1(one.name, product),
        "triggerPx": places(plan.trigger, one.price_digits),
        "planType": None,  # which means pl
        "ordPx": places(plan.price, one.price_digits),
        "sz": places(plan.qty, one.qty_digits),
        "actualSz": places(plan.order.qty if plan.order is not None else 0, one.qty_digits),
        "actualPx": places(plan.price, one.price_digits) if plan.order is not None else None,
        "ordType": "limit" if plan.price else "market",
        "side": "buy" if plan.buy else "sell",
        "posSide": "net",
        "tgtCcy": one.settled_in,
        "state": _V1_PLAN_STATE.get(event.status, "triggered"),
        "hM": "single_hold",
        "eps": _SOURCE,
        "triggerTime": str(plan.triggered) if plan.triggered else None,
        "userId": "4400555",
        "version": number + 1,
        "triggerPxType": "last",
        "key": str(number),
        "tS": f"{'buy' if plan.buy else 'sell'}_single",
        "uTime": str(event.at),
        "cTime": str(plan.created),
    }


def _v1_account(balance: Balance, now: int, product: str, market: Market) -> Row:
    asset, free, locked = balance
    if product == "SPOT":
        return {
            "coinId": str(1 + list(market.free).index(asset)),
            "coinName": asset,
            "available": fixed(free) + "0000000000",
            "frozen": fixed(locked),
            "lock": "0",
            "coinDisplayName": asset,
            "uTime": str(now),
        }
    profit = sum(one.unrealized for one in market.positions.values() if one.instrument.settled_in == asset)
    return {
        "marginCoin": asset,
        "locked": fixed(locked),
        "available": fixed(free),
        "maxOpenPosAvailable": fixed(free),
        "maxTransferOut": fixed(free),
        "equity": fixed(balance.total + profit),
        "usdtEquity": fixed(usd(asset, balance.total + profit)) + "999",
    }


def _v1_positions(market: Market, now: int, product: str) -> list[Row]:
    return [
        {
            "posId": str(_POSITION + one.number),
            "instId": symbol_v1(one.instrument.name, product),
            "instName": one.instrument.name,
            "marginCoin": one.instrument.settled_in,
            "margin": fixed(one.cost // market.leverage),
            "autoMargin": "off",
            "marginMode": "crossed",
            "holdSide": "long" if one.qty > 0 else "short",
            "holdMode": "single_hold",
            "total": places(abs(one.qty), one.instrument.qty_digits),
            "available": places(abs(one.qty), one.instrument.qty_digits),
            "locked": "0",
            "averageOpenPrice": fixed(one.entry),
            "leverage": market.leverage,
            "achievedProfits": fixed(one.realized),
            "upl": fixed(one.unrealized),
            "uplRate": fixed(one.unrealized * 10**8 * market.leverage // one.cost if one.cost else 0),
            "liqPx": "-" + liquidation(one) if one.number % 3 == 0 else liquidation(one),
            "keepMarginRate": "0.004",
            "marginRate": "0.0123",
            "cTime": str(one.created),
            "uTime": str(now),
            "markPrice": fixed(one.mark),
        }
        for one in market.positions.values()
        if one.qty
    ]


# ==== v1, the names that circulate beside the official ones ====


def rows_v1_other(event: Event, channel: str, _product: str, market: Market) -> list[Row] | None:
    """What a channel has to say with the other set of names; None: nothing."""
    order = event.order
    if channel == "account":
        return [_other_account(one, event.at) for one in event.balances] or None
    if channel == "positions" and event.trade:
        return [_other_position(one, event.at, market.leverage) for one in event.positions] or None
    if order is None or (channel == "trades" and not event.trade):
        return None
    one = order.instrument
    if channel == "orders":
        return [
            {
                "orderId": order_id(order),
                "symbol": one.name,
                "side": _side(order),
                "orderType": "market" if order.type == "MARKET" else "limit",
                "price": places(order.limit, one.price_digits),
                "quantity": places(event.qty, one.qty_digits),
                "remainingQuantity": places(event.qty - event.filled, one.qty_digits),
                "status": "new" if event.status == "NEW" else _status(event, "cancelled"),
                "timestamp": event.at,
            }
        ]
    if channel == "trades":
        return [
            {
                "tradeId": _trade_id(event),
                "orderId": order_id(order),
                "symbol": one.name,
                "side": _side(order),
                "price": places(event.last_price, one.price_digits),
                "quantity": places(event.last_qty, one.qty_digits),
                "fee": fixed(event.fee),
                "feeCurrency": event.fee_asset,
                "timestamp": event.at,
            }
        ]
    return None


def snapshot_v1_other(channel: str, market: Market, now: int) -> list[Row] | None:
    """What a channel says when it is subscribed, with the other set of names; None: nothing."""
    if channel == "account":
        return [_other_account(one, now) for one in market.balances()]
    if channel == "positions":
        return [_other_position(one, now, market.leverage) for one in market.positions.values() if one.qty]
    return None


def _other_account(balance: Balance, now: int) -> Row:
    return {
        "coinId": balance.asset,
        "available": fixed(balance.free),
        "frozen": fixed(balance.locked),
        "locked": "0",
        "btcValue": fixed(usd(balance.asset, balance.total) * 10**8 // _USD_RATE["BTC"]),
        "usdValue": places(usd(balance.asset, balance.total), 2),
        "timestamp": now,
    }


def _other_position(one: Position, now: int, leverage: int) -> Row:
    return {
        "symbol": one.instrument.name,
        "positionAmt": places(one.qty, one.instrument.qty_digits),
        "entryPrice": fixed(one.entry),
        "markPrice": fixed(one.mark),
        "unRealizedProfit": fixed(one.unrealized),
        "liquidationPrice": liquidation(one),
        "leverage": str(leverage),
        "marginType": "isolated",
        "timestamp": now,
    }


# ==== REST ====


def rest_assets_uta(markets: Iterable[Market]) -> dict[str, Any]:
    """The unified account."""
    row: Any = _uta_whole_account(markets)
    return {
        "accountEquity": row["totalEquity"],
        "usdtEquity": row["totalEquity"],
        "effEquity": row["effEquity"],
        "assets": [one | {"debt": one["debts"]} for one in row["coin"]],
    }


def rest_order_uta(order: Order, product: str) -> dict[str, Any]:
    """A row of the unified account's open orders."""
    one = order.instrument
    return {
        "category": product,
        "symbol": one.name,
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "price": places(order.price, one.price_digits),
        "qty": places(order.qty, one.qty_digits),
        "holdMode": "one_way_mode" if product != "SPOT" else "",
        "posSide": "net" if product != "SPOT" else "",
        "orderType": "market" if order.type == "MARKET" else "limit",
        "timeInForce": _force(order),
        "side": _side(order),
        "marginMode": "crossed" if product != "SPOT" else "",
        "reduceOnly": "yes" if order.reduce_only else "no",
        "cumExecQty": places(order.filled, one.qty_digits),
        "cumExecValue": fixed(order.quote),
        "avgPrice": places(one.mean_price(order.quote, order.filled), one.price_digits),
        "orderStatus": {"NEW": "live"}.get(order.status, order.status.lower()),
        "createdTime": str(order.created),
        "updatedTime": str(order.updated),
    }


def rest_fill_uta(event: Event, product: str) -> dict[str, Any]:
    """A row of the unified account's fills."""
    row = _uta_fill(event, product, True)
    return row | {"createdTime": row["execTime"]}


def rest_positions_uta(market: Market, product: str, now: int) -> list[dict[str, Any]]:
    """The unified account's positions in a market."""
    rows = [_uta_position(one, now, market.leverage) for one in market.positions.values() if one.qty]
    return [row | {"category": product, "total": row["size"]} for row in rows]


def rest_order(order: Order, product: str) -> dict[str, Any]:
    """A row of the open orders."""
    one = order.instrument
    row = {
        "symbol": one.name,
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "priceAvg": places(one.mean_price(order.quote, order.filled), one.price_digits),
        "price": places(order.price, one.price_digits),
        "size": places(order.qty, one.qty_digits),
        "orderType": "market" if order.type == "MARKET" else "limit",
        "side": _side(order),
        "status": {"NEW": "live"}.get(order.status, order.status.lower()),
        "baseVolume": places(order.filled, one.qty_digits),
        "quoteVolume": fixed(order.quote),
        "enterPointSource": _SOURCE,
        "cTime": str(order.created),
        "uTime": str(order.updated),
    }
    if product != "SPOT":
        row |= {"marginCoin": one.settled_in, "marginMode": "crossed", "posSide": "net", "leverage": "20"}
    return row
