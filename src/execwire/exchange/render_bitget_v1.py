"""What Bitget's v1 REST API answers: products, contracts, and the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execwire.exchange.market import fixed, places
from execwire.exchange.render_bitget import liquidation, order_id, symbol_v1, usd

if TYPE_CHECKING:
    from execwire.exchange.market import Market, Order, Position

__all__ = ["accounts", "assets", "contracts", "currencies", "futures_order", "positions", "products", "spot_order"]

Row = dict[str, Any]


def products(market: Market) -> list[Row]:
    """GET spot products."""
    return [
        {
            "symbol": symbol_v1(one.name, "SPOT"),
            "symbolName": one.name,
            "baseCoin": one.base,
            "quoteCoin": one.quote,
            "minTradeAmount": places(10 ** (8 - one.qty_digits), one.qty_digits),
            "maxTradeAmount": "0",
            "takerFeeRate": "0.001",
            "makerFeeRate": "0.001",
            "priceScale": str(one.price_digits),
            "quantityScale": str(one.qty_digits),
            "minTradeUSDT": "5",
            "status": "online",
            "buyLimitPriceRatio": "0.05",
            "sellLimitPriceRatio": "0.05",
        }
        for one in market.instruments
    ]


def currencies(market: Market) -> list[Row]:
    """GET spot currencies."""
    return [
        {
            "coinId": str(n),
            "coinName": asset,
            "transfer": "true",
            "chains": [
                {
                    "chain": asset,
                    "needTag": "false",
                    "withdrawable": "true",
                    "rechargeable": "true",
                    "withdrawFee": "0.0001",
                    "extraWithDrawFee": "0",
                    "depositConfirm": "1",
                    "withdrawConfirm": "1",
                    "minDepositAmount": "0.0001",
                    "minWithdrawAmount": "0.001",
                    "browserUrl": "",
                }
            ],
        }
        for n, asset in enumerate(market.free, 1)
    ]


def contracts(market: Market, product: str) -> list[Row]:
    """GET contracts of futures. They have no `symbolName`: by that some clients tell spot."""
    return [
        {
            "symbol": symbol_v1(one.name, product),
            "baseCoin": one.base,
            "quoteCoin": one.quote,
            "buyLimitPriceRatio": "0.05",
            "sellLimitPriceRatio": "0.05",
            "feeRateUpRatio": "0.005",
            "makerFeeRate": "0.0002",
            "takerFeeRate": "0.0006",
            "openCostUpRatio": "0.01",
            "supportMarginCoins": [one.settled_in],
            "minTradeNum": places(10 ** (8 - one.qty_digits), one.qty_digits),
            "priceEndStep": "1",
            "pricePlace": str(one.price_digits),
            "volumePlace": str(one.qty_digits),
            "sizeMultiplier": places(10 ** (8 - one.qty_digits), one.qty_digits),
            "symbolType": "perpetual",
            "symbolStatus": "normal",
            "offTime": "-1",
            "limitOpenTime": "-1",
        }
        for one in market.instruments
    ]


def assets(market: Market, now: int) -> list[Row]:
    """GET spot assets."""
    return [
        {
            "coinId": str(n),
            "coinName": one.asset,
            "available": fixed(one.free),
            "frozen": fixed(one.locked),
            "lock": "0",
            "uTime": str(now),
        }
        for n, one in enumerate(market.balances(), 1)
    ]


def accounts(market: Market) -> list[Row]:
    """GET accounts of futures."""
    rows = []
    for one in market.balances():
        profit = sum(its.unrealized for its in market.positions.values() if its.instrument.settled_in == one.asset)
        rows.append(
            {
                "marginCoin": one.asset,
                "locked": fixed(one.locked),
                "available": fixed(one.free),
                "crossMaxAvailable": fixed(one.free),
                "fixedMaxAvailable": fixed(one.free),
                "maxTransferOut": fixed(one.free),
                "equity": fixed(one.total + profit),
                "usdtEquity": fixed(usd(one.asset, one.total + profit)),
                "crossRiskRate": "0.0123",
                "unrealizedPL": fixed(profit),
                "bonus": "0",
            }
        )
    return rows


def positions(market: Market, product: str) -> list[Row]:
    """GET all positions of futures."""
    return [_position(one, product, market.leverage) for one in market.positions.values() if one.qty]


def _position(one: Position, product: str, leverage: int) -> Row:
    size = places(abs(one.qty), one.instrument.qty_digits)
    return {
        "marginCoin": one.instrument.settled_in,
        "symbol": symbol_v1(one.instrument.name, product),
        "holdSide": "long" if one.qty > 0 else "short",
        "openDelegateCount": "0",
        "margin": fixed(one.cost // leverage),
        "available": size,
        "locked": "0",
        "total": size,
        "leverage": leverage,
        "achievedProfits": fixed(one.realized),
        "averageOpenPrice": fixed(one.entry),
        "marginMode": "crossed",
        "holdMode": "single_hold",
        "unrealizedPL": fixed(one.unrealized),
        "liquidationPrice": liquidation(one),
        "keepMarginRate": "0.004",
        "marketPrice": fixed(one.mark),
        "cTime": str(one.created),
    }


def spot_order(order: Order) -> Row:
    """A row of spot's open orders."""
    one = order.instrument
    return {
        "symbol": symbol_v1(one.name, "SPOT"),
        "orderId": order_id(order),
        "clientOrderId": order.client_id,
        "price": places(order.price, one.price_digits),
        "quantity": places(order.qty, one.qty_digits),
        "orderType": "market" if order.type == "MARKET" else "limit",
        "side": "buy" if order.buy else "sell",
        "status": {"NEW": "new", "PARTIALLY_FILLED": "partial_fill"}.get(order.status, order.status.lower()),
        "fillPrice": places(one.mean_price(order.quote, order.filled), one.price_digits),
        "fillQuantity": places(order.filled, one.qty_digits),
        "fillTotalAmount": fixed(order.quote),
        "enterPointSource": "API",
        "cTime": str(order.created),
    }


def futures_order(order: Order, product: str, leverage: int) -> Row:
    """A row of the open orders of futures."""
    one = order.instrument
    side = "buy" if order.buy else "sell"
    return {
        "symbol": symbol_v1(one.name, product),
        "size": places(order.qty, one.qty_digits),
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "filledQty": places(order.filled, one.qty_digits),
        "filledAmount": fixed(order.quote),
        "fee": fixed(-order.fees),
        "price": places(order.price, one.price_digits) if order.price else None,
        "priceAvg": places(one.mean_price(order.quote, order.filled), one.price_digits) if order.filled else None,
        "state": order.status.lower(),
        "side": f"{side}_single",
        "tradeSide": f"{side}_single",
        "posSide": "net",
        "holdMode": "single_hold",
        "timeInForce": "post_only"
        if order.type == "LIMIT_MAKER"
        else {"GTC": "normal"}.get(order.force, order.force.lower()),
        "marginCoin": one.settled_in,
        "marginMode": "crossed",
        "leverage": str(leverage),
        "orderType": "market" if order.type == "MARKET" else "limit",
        "reduceOnly": order.reduce_only,
        "enterPointSource": "API",
        "cTime": str(order.created),
        "uTime": str(order.updated),
    }
