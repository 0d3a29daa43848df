"""Events as Binance Spot writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execwire.exchange.market import fixed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execwire.exchange.market import Balance, Event, Market, Order

__all__ = ["STP", "account", "account_position", "bool_", "execution_id", "messages", "order_row", "trade_row"]

STP = "EXPIRE_MAKER"
_WORKING = ("NEW", "PARTIALLY_FILLED")


def bool_(value: bool) -> str:
    """As JSON writes it."""
    return "true" if value else "false"


def execution_id(event: Event) -> int:
    """Rises with every execution of the market."""
    return 71_000_000_000 + event.number


def messages(event: Event, unit: int = 1) -> list[bytes]:
    """The event messages, in order.

    Parameters
    ----------
    unit : int
        1: times are ms; 1000: µs.
    """
    now = event.at * unit
    if event.kind == "transfer":
        change = f'{{"e":"balanceUpdate","E":{now},"a":"{event.asset}","d":"{fixed(event.delta)}","T":{now}}}'
        return [change.encode(), account_position(event.balances, now)]
    report = execution_report(event, unit)
    return [report, account_position(event.balances, now)] if event.balances else [report]


def execution_report(event: Event, unit: int = 1) -> bytes:
    """An executionReport with every key that such an order has."""
    order = event.order
    assert order is not None
    now = event.at * unit
    created = order.created * unit
    amended = event.cancel_id or event.execution == "REPLACED"
    traded = event.trade != 0
    tail = f',"W":{created}' if event.status in _WORKING else ""
    if order.number % 5 == 0:
        tail += f',"j":{order.number % 1000},"J":1000{order.number % 1000:03d}'
    if event.execution == "EXPIRED":
        kind = "UNFILLED_FOK_ORDER_EXPIRED" if order.force == "FOK" else "UNFILLED_IOC_QUANTITY_EXPIRED"
        tail += f',"eR":"{kind}"'
    return (
        f'{{"e":"executionReport","E":{now},"s":"{order.instrument.name}",'
        f'"c":"{(event.cancel_id or "amend-" + str(event.number)) if amended else order.client_id}",'
        f'"S":"{"BUY" if order.buy else "SELL"}","o":"{order.type}","f":"{order.force}","q":"{fixed(event.qty)}",'
        f'"p":"{fixed(order.price)}","P":"0.00000000","F":"0.00000000","g":-1,'
        f'"C":"{order.client_id if amended else ""}","x":"{event.execution}","X":"{event.status}",'
        f'"r":"{event.reason or "NONE"}","i":{order.number},"l":"{fixed(event.last_qty)}","z":"{fixed(event.filled)}",'
        f'"L":"{fixed(event.last_price)}",'
        + (f'"n":"{fixed(event.fee)}","N":"{event.fee_asset}",' if traded else '"n":"0","N":null,')
        + f'"T":{now},"t":{event.trade or -1},"I":{execution_id(event)},"w":{bool_(event.status in _WORKING)},'
        f'"m":{bool_(event.maker)},"M":false,"O":{created},"Z":"{fixed(event.quote)}","Y":"{fixed(event.last_quote)}",'
        f'"Q":"0.00000000"{tail},"V":"{STP}"}}'
    ).encode()


def account_position(balances: Iterable[Balance], now: int) -> bytes:
    """An outboundAccountPosition of the assets that may have changed."""
    rows = ",".join(f'{{"a":"{a}","f":"{fixed(f)}","l":"{fixed(l)}"}}' for a, f, l in balances)  # noqa: E741
    return f'{{"e":"outboundAccountPosition","E":{now},"u":{now},"B":[{rows}]}}'.encode()


# ==== REST ====


def account(market: Market, now: int) -> dict[str, object]:
    """GET /api/v3/account."""
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": "0.00100000",
            "taker": "0.00100000",
            "buyer": "0.00000000",
            "seller": "0.00000000",
        },
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": now,
        "accountType": "SPOT",
        "balances": [{"asset": a, "free": fixed(f), "locked": fixed(held)} for a, f, held in market.balances()],
        "permissions": ["SPOT"],
        "uid": 354_937_868,
    }


def order_row(order: Order) -> dict[str, object]:
    """A row of GET /api/v3/openOrders and /allOrders."""
    return {
        "symbol": order.instrument.name,
        "orderId": order.number,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": fixed(order.price),
        "origQty": fixed(order.qty),
        "executedQty": fixed(order.filled),
        "origQuoteOrderQty": "0.00000000",
        "cummulativeQuoteQty": fixed(order.quote),
        "status": order.status,
        "timeInForce": order.force,
        "type": order.type,
        "side": "BUY" if order.buy else "SELL",
        "stopPrice": "0.00000000",
        "icebergQty": "0.00000000",
        "time": order.created,
        "updateTime": order.updated,
        "isWorking": order.status in _WORKING,
        "workingTime": order.created,
        "selfTradePreventionMode": STP,
    }


def trade_row(event: Event) -> dict[str, object]:
    """A row of GET /api/v3/myTrades."""
    order = event.order
    assert order is not None
    return {
        "symbol": order.instrument.name,
        "id": event.trade,
        "orderId": order.number,
        "orderListId": -1,
        "price": fixed(event.last_price),
        "qty": fixed(event.last_qty),
        "quoteQty": fixed(event.last_quote),
        "commission": fixed(event.fee),
        "commissionAsset": event.fee_asset,
        "time": event.at,
        "isBuyer": order.buy,
        "isMaker": event.maker,
        "isBestMatch": True,
    }
