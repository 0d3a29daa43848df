"""ccxt: its parser for an order of the stream, after json.loads. It makes floats, and copies what it was given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from contest import python_test
from execwire.bench import Contender, Runner

if TYPE_CHECKING:
    from execwire.workload import Workload

STATUS = {
    "open": ("new", "partially_filled"),
    "closed": ("filled",),
    "canceled": ("canceled",),
    "expired": ("expired",),
}


def _prepare(messages: Workload) -> Runner:
    import ccxt.pro

    exchange: Any = ccxt.pro.binance()
    exchange.options["defaultType"] = "spot"
    exchange.markets, exchange.markets_by_id = {}, {}

    def decode(payload: bytes) -> Any:
        return exchange.parse_ws_order(json.loads(payload))

    return Runner(decode, lambda order: [_record(order)], exact=False)


def _record(order: dict[str, Any]) -> dict[str, Any]:
    """What its unified order says, joined by what it keeps of the message, so that the rest can be compared too."""
    from execwire import reference

    (record,) = reference.decode("binance-spot", json.dumps(order["info"]).encode())
    if record["status"] not in STATUS[order["status"]]:
        record["status"] = order["status"]
    record |= {"order_id": order["id"], "side": order["side"], "cum_qty": order["filled"], "orig_qty": order["amount"]}
    return record


test_python = python_test(Contender("ccxt parse_ws_order", "ccxt", _prepare), ("executionReport",))
