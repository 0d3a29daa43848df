"""Events as gzip brokers write them, before they are packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execwire.exchange.market import fixed, places

if TYPE_CHECKING:
    from execwire.exchange.market import Event, Market, Plan, Position

__all__ = ["SYSTEM_CLOSE", "adl_price", "futures", "spot"]

_ORDER = 2_690_536_000_000_000_000
_PLAN_LIFE = 7 * 86_400_000  # ms
_UID = 24_005_174
_TRADE_PRECISION = "00000000"  # sixteen decimals
SYSTEM_CLOSE = f'{{"uid":{_UID},"channel":"SYSTEM","et":"close"}}'
_STATUS = {"PARTIALLY_FILLED": "PART_FILLED", "EXPIRED": "CANCELED"}


def spot(event: Event) -> list[str]:
    """The messages of an event, in order. Market orders have no report, and neither have new ones."""
    out = []
    order = event.order
    if order is not None and order.price and event.execution in ("TRADE", "CANCELED", "EXPIRED"):
        one = order.instrument
        sixteen = _TRADE_PRECISION
        out.append(
            f'{{"E":{event.at + 54},"L":"{fixed(event.last_price)}{sixteen}","O":{order.created},"P":"0",'
            f'"Q":"{fixed(one.value(order.limit, event.qty)).rstrip("0").rstrip(".")}",'
            f'"S":"{"BUY" if order.buy else "SELL"}","T":{event.at},"X":"{_STATUS.get(event.status, event.status)}",'
            f'"Y":"{fixed(event.last_quote)}{sixteen}","Z":"{fixed(event.quote)}{sixteen}","e":"executionReport",'
            f'"i":"{_ORDER + order.number}","l":"{fixed(event.last_qty)}{sixteen}","n":"{fixed(event.fee)}{sixteen}",'
            f'"o":"{order.type.removesuffix("_MAKER")}","p":"{places(order.price, one.price_digits)}",'
            f'"q":"{places(event.qty, one.qty_digits)}","s":"{one.name}","x":"STATUS",'
            f'"z":"{fixed(event.filled)}{sixteen}"}}'
        )
    if event.balances:
        rows = ",".join(f'{{"a":"{a}","f":"{fixed(f)}","l":"{fixed(held)}"}}' for a, f, held in event.balances)
        out.append(f'{{"e":"outboundAccountPosition","E":{event.at},"u":{event.at},"B":[{rows}]}}')
    return out


def futures(event: Event, known: set[int], leverage: int) -> list[str]:
    """The messages of an event, in order.

    Parameters
    ----------
    known : set of int
        Positions that the client has been told of; a new one is created, a known one updated or deleted.
    """
    if event.plan is not None:
        return [_plan(event.plan, _PLAN_ACTION[event.status])] if event.status in _PLAN_ACTION else []
    out = []
    if event.order is not None:
        out.append(_order(event))
    if event.order is None or event.trade:
        position = event.positions[0] if event.positions else None
        if position is None:
            out.append(_account(event, "DEFAULT", "{}"))
        elif not position.qty:
            known.discard(position.number)
            out.append(_account(event, "DELETE", f'{{"id":{position.number}}}'))
        elif position.number in known:
            out.append(_account(event, "UPDATE", _position(position, leverage, whole=False)))
        else:
            known.add(position.number)
            out.append(_account(event, "CREATE", _position(position, leverage, whole=True)))
    return out


def _account(event: Event, what: str, position: str) -> str:
    rows = ",".join(
        f'{{"c":"{one.asset}","an":{fixed(one.total)},"la":{fixed(one.locked)},"pn":0}}' for one in event.balances
    )
    return (
        f'{{"channel":"ACCOUNT_UPDATE","uid":{_UID},"t":"{event.at}",'
        f'"d":{{"et":"{what}","a":[{rows}],"p":{position}}}}}'
    )


def _position(one: Position, leverage: int, *, whole: bool) -> str:
    instrument = one.instrument
    digits = instrument.qty_digits
    size = places(abs(one.qty), digits)
    changes = (
        f'"id":{one.number},"pv":{size},"op":{fixed(one.entry)}0000000000003,"hm":{fixed(one.cost // leverage)},'
        f'"ra":{fixed(one.realized)},"s":"{"BUY" if one.qty > 0 else "SELL"}","ccv":{size}'
    )
    if not whole:
        return f"{{{changes}}}"
    liquidation = one.entry * (9550 if one.qty > 0 else 10450) // 10000
    return (
        f'{{{changes},"cid":{one.number - 90_000},"pt":1,"cn":"E-{instrument.base}-{instrument.quote}",'
        f'"con":"{instrument.name}-PERP","l":{leverage},"rp":{fixed(liquidation)},"mr":0.0123,"oa":0.05}}'
    )


def _order(event: Event) -> str:
    order = event.order
    assert order is not None
    one = order.instrument
    action = {"NEW": "1", "CANCELED": "2", "EXPIRED": "2"}.get(event.execution, "3")
    average = fixed(one.mean_price(event.quote, event.filled)) + "333333333333" if event.filled else "0"
    return (
        f'{{"channel":"order","order":{{"orderId":"{_ORDER + order.number}","contractId":131,'
        f'"contractName":"E-{one.base}-{one.quote}","symbol":"{one.base}-{one.quote}","contractSide":1,'
        f'"type":{2 if order.type == "MARKET" else 1},"price":{places(order.price, one.price_digits)},'
        f'"pricePrecision":{one.price_digits},"dealVolume":{places(event.filled, one.qty_digits)},'
        f'"volume":{places(event.qty, one.qty_digits)},"avgPrice":{average},"tradeFee":{fixed(event.fees)},'
        f'"realizedAmount":{fixed(event.realized)},"otoOrder":{{"takerProfitStatus":false,"takerProfitTrigger":null,'
        f'"takerProfitPrice":0,"takerProfitTriggerId":null,"stopLossStatus":false,"stopLossTrigger":null,'
        f'"stopLossPrice":0,"stopLossTriggerId":null}},"orderAction":"{action}"}}}}'
    )


_PLAN_ACTION = {"NEW": "1", "CANCELED": "2"}  # nothing is known to be sent when it triggers


def _plan(plan: Plan, action: str) -> str:
    one = plan.instrument
    return (
        f'{{"channel":"trigOrder","trigOrder":{{"triggerOrderId":"{_ORDER + plan.number}",'
        f'"type":{1 if plan.price else 2},"side":"{"buy" if plan.buy else "sell"}",'
        f'"triggerPrice":{places(plan.trigger, one.price_digits)},"price":{places(plan.price, one.price_digits)},'
        f'"volume":{places(plan.qty, one.qty_digits)},"triggerType":3,"ctime":{plan.created},'
        f'"expireTime":{plan.created + _PLAN_LIFE},"orderAction":"{action}"}}}}'
    )


def adl_price(market: Market) -> str | None:
    """What is sent every second: prices of every open position; None if there is none."""
    rows = ",".join(
        f'{{"mr":0.0123,"lt":{fixed(one.mark)},"ha":{fixed(one.cost // market.leverage)},"al":2,"id":{one.number},'
        f'"so":{fixed(one.mark)},"tp":{fixed(one.mark)}000000000003,"bo":{fixed(one.mark)},'
        f'"rp":{fixed(one.entry * 9550 // 10000)}}}'
        for one in market.positions.values()
        if one.qty
    )
    return f'{{"uid":{_UID},"channel":"ADL_PRICE","l":[{rows}]}}' if rows else None
