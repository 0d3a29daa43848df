"""The invented market: what it tells adds up, to the last digit, whatever the seed."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from decimal import Decimal

import pytest
from exchanges import START
from hypothesis import given, settings
from hypothesis import strategies as st

from execwire.exchange import render_futures, render_spot
from execwire.exchange.market import SCALE, Instrument, Market, Position, fixed, places

EVENTS = 300
SEEDS = st.integers(0, 10**6)


def market(kind: str, seed: object = 1) -> Market:
    return Market(str(seed), kind, itertools.count(START).__next__)  # type: ignore[arg-type]


def amount(text: str) -> Decimal:
    return Decimal(text)


# ---- As the account's owner sees it: from the messages alone ----


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_spot_adds_up(seed):
    """Totals follow from fills, fees and transfers; what is locked follows from the open orders."""
    its = market("spot", seed)
    total = {one.asset: amount(fixed(one.total)) for one in its.balances()}
    orders: dict[int, dict[str, str]] = {}
    for _ in range(EVENTS):
        for message in map(json.loads, render_spot.messages(its.step())):
            if message["e"] == "balanceUpdate":
                total[message["a"]] += amount(message["d"])
            elif message["e"] == "executionReport":
                instrument = next(one for one in its.instruments if one.name == message["s"])
                assert amount(message["L"]) * amount(message["l"]) == amount(message["Y"])
                if message["x"] == "TRADE":
                    sign = 1 if message["S"] == "BUY" else -1
                    total[instrument.base] += sign * amount(message["l"])
                    total[instrument.quote] -= sign * amount(message["Y"])
                    total[message["N"]] -= amount(message["n"])
                orders[message["i"]] = message | {"base": instrument.base, "quote": instrument.quote}
                if message["X"] not in ("NEW", "PARTIALLY_FILLED"):
                    del orders[message["i"]]
            else:
                assert message["e"] == "outboundAccountPosition"
                for row in message["B"]:
                    asset, free, locked = row["a"], amount(row["f"]), amount(row["l"])
                    assert free >= 0
                    assert free + locked == total[asset]
                    sells = [one for one in orders.values() if one["S"] == "SELL" and one["base"] == asset]
                    buys = [one for one in orders.values() if one["S"] == "BUY" and one["quote"] == asset]
                    if not any(one["o"] == "MARKET" for one in buys):  # what these hold back is not told
                        assert locked == sum(amount(one["q"]) - amount(one["z"]) for one in sells) + sum(
                            amount(one["p"]) * (amount(one["q"]) - amount(one["z"])) for one in buys
                        )


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from(["linear", "inverse"]))
def test_futures_add_up(seed, kind):
    """The wallet follows from profits, fees, funding and transfers; a position is the sum of its fills."""
    its = market(kind, seed)
    wallet = {one.asset: amount(fixed(one.total)) for one in its.balances()}
    profit: defaultdict[str, Decimal] = defaultdict(Decimal)
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    updates = fills = 0
    for _ in range(EVENTS):
        messages = [json.loads(text) for _, text in render_futures.messages(its.step())]
        for message in messages:  # the order's message comes after the account's
            if message["e"] == "ORDER_TRADE_UPDATE" and message["o"]["x"] == "TRADE":
                order = message["o"]
                wallet[order["N"]] += amount(order["rp"]) - amount(order["n"])
                profit[order["s"]] += amount(order["rp"])
                held[order["s"]] += amount(order["l"]) * (1 if order["S"] == "BUY" else -1)
                fills += 1
        for message in messages:
            if message["e"] == "ACCOUNT_UPDATE":
                for row in message["a"]["B"]:
                    wallet[row["a"]] += amount(row["bc"])
                    assert amount(row["wb"]) == amount(row["cw"]) == wallet[row["a"]]
                for row in message["a"]["P"]:
                    assert amount(row["pa"]) == held[row["s"]]
                    assert amount(row["cr"]) == profit[row["s"]]
                    assert (amount(row["ep"]) == 0) == (amount(row["pa"]) == 0)
                    updates += 1
    assert updates == fills > 0


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from(["spot", "linear", "inverse"]))
def test_orders_end_as_they_should(seed, kind):
    its = market(kind, seed)
    last: dict[int, tuple[str, int]] = {}
    trades, seen = [], set()
    for _ in range(EVENTS):
        event = its.step()
        if event.order is None:
            continue
        number = event.order.number
        status, filled = last.get(number, ("", 0))
        assert status not in ("FILLED", "CANCELED", "EXPIRED", "REJECTED"), "a dead order spoke"
        assert (status == "") == (event.execution in ("NEW", "REJECTED"))
        assert event.filled == filled + event.last_qty <= event.qty
        assert (event.status == "FILLED") == (event.filled == event.qty)
        assert bool(event.trade) == (event.execution == "TRADE") == bool(event.last_qty)
        assert (number in its.orders) == (event.status in ("NEW", "PARTIALLY_FILLED"))
        if event.trade:
            trades.append(event.trade)
        last[number] = event.status, event.filled
        seen.add(event.status)
    assert trades == sorted(set(trades))
    assert {"NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED"} <= seen


@pytest.mark.parametrize("kind", ["linear", "inverse"])
def test_plans(kind):
    """A conditional order is placed, and then canceled; or triggers, places an order, and is finished with it."""
    its = market(kind)
    told: defaultdict[int, list[str]] = defaultdict(list)
    ended = {}
    for _ in range(4_000):
        event = its.step()
        if event.order is not None:
            ended[event.order.number] = event.status in ("FILLED", "CANCELED", "EXPIRED")
        if event.plan is None:
            continue
        told[event.plan.number].append(event.status)
        if event.status == "FINISHED":
            assert event.plan.order is not None
            assert ended[event.plan.order.number]
    whole = ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    assert {tuple(one) for one in told.values()} >= {tuple(whole), ("NEW", "CANCELED")}
    assert all(one in (whole[: len(one)], ["NEW", "CANCELED"]) for one in told.values())


@pytest.mark.parametrize("kind", ["spot", "linear", "inverse"])
def test_lasts(kind):
    """No asset runs out and no position runs away in a long run."""
    its = market(kind)
    for _ in range(20_000):
        its.step()
    assert all(one.free >= 0 for one in its.balances())
    assert all(abs(one.qty) < 100 * one.instrument.qty for one in its.positions.values())
    assert len(its.orders) <= 12


# ---- Determinism ----


@pytest.mark.parametrize("kind", ["spot", "linear", "inverse"])
def test_same_seed_same_events(kind):
    def events(seed: object) -> list[object]:
        its = market(kind, seed)
        return [repr(its.step()) for _ in range(EVENTS)]

    assert events("a") == events("a")
    assert events("a") != events("b")


# ---- Its arithmetic ----


def test_texts():
    assert [fixed(one) for one in (0, 1, -1, SCALE, -123_456_789_012)] == [
        "0.00000000",
        "0.00000001",
        "-0.00000001",
        "1.00000000",
        "-1234.56789012",
    ]
    assert [places(one, 3) for one in (0, SCALE, -SCALE // 2, 123_456_789)] == ["0", "1.000", "-0.500", "1.234"]
    assert places(5 * SCALE, 0) == "5"


LINEAR = Instrument("XUSDT", "X", "USDT", 100 * SCALE, 2, SCALE, 3)
INVERSE = Instrument("XUSD_PERP", "X", "USD", 100 * SCALE, 1, SCALE, 0, 10 * SCALE)


def test_linear_position():
    position = Position(LINEAR, 1)
    assert position.fill(2 * SCALE, 100 * SCALE) == 0
    assert position.fill(2 * SCALE, 110 * SCALE) == 0
    assert (position.qty, position.entry) == (4 * SCALE, 105 * SCALE)
    assert position.fill(-1 * SCALE, 115 * SCALE) == 10 * SCALE
    assert position.entry == 105 * SCALE
    assert position.fill(-5 * SCALE, 95 * SCALE) == -30 * SCALE  # closes three, and opens a short of two
    assert (position.qty, position.entry, position.before) == (-2 * SCALE, 95 * SCALE, 3 * SCALE)
    position.mark = 90 * SCALE
    assert position.unrealized == 10 * SCALE
    assert position.fill(2 * SCALE, 96 * SCALE) == -2 * SCALE
    assert (position.qty, position.cost, position.entry, position.unrealized) == (0, 0, 0, 0)
    assert position.realized == -22 * SCALE


def test_inverse_position():
    """Ten contracts of 10 USD at 100 are worth one coin; at 125 they are worth 0.8: a long has won 0.2."""
    position = Position(INVERSE, 1)
    position.fill(10 * SCALE, 100 * SCALE)
    assert (position.cost, position.entry) == (SCALE, 100 * SCALE)
    position.mark = 125 * SCALE
    assert position.unrealized == SCALE // 5
    assert position.fill(-10 * SCALE, 125 * SCALE) == SCALE // 5
    position.fill(-10 * SCALE, 100 * SCALE)
    position.mark = 125 * SCALE
    assert position.unrealized == -SCALE // 5
