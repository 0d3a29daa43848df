"""The picture of from-capture-to-answer.md: `python docs/picture.py CAPTURE OUT.svg`."""

from __future__ import annotations

import sys

import duckdb
import matplotlib as mpl

import execwire

mpl.use("Agg")
mpl.rcParams |= {"svg.hashsalt": "execwire", "svg.fonttype": "none", "font.size": 9}

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of its backend

TRADED = """
    SELECT symbol, coalesce(sum(quote_qty) FILTER (is_maker), 0)::DOUBLE,
           coalesce(sum(quote_qty) FILTER (NOT is_maker), 0)::DOUBLE
    FROM fills GROUP BY symbol ORDER BY sum(quote_qty)
"""
SLIPPAGE = """
    SELECT symbol, ((last_price - price) / price * if(side = 'buy', 1, -1))::DOUBLE * 1e4
    FROM orders WHERE exec_type = 'trade' AND order_type = 'limit' AND NOT is_maker
"""


def draw(capture: str, out: str) -> None:
    """Traded by symbol, and the slippage of limit orders."""
    table = execwire.read_capture(capture)
    fills, orders = table.fills().to_arrow(), table.orders.to_arrow()
    traded = duckdb.sql(TRADED).fetchall()
    slips: dict[str, list[float]] = {}
    for symbol, points in duckdb.sql(SLIPPAGE).fetchall():
        slips.setdefault(symbol, []).append(points)
    del fills, orders  # which the queries read
    symbols = [row[0] for row in traded]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
    left.barh(symbols, [row[1] / 1e6 for row in traded], label="maker", color="#2a7f62")
    left.barh(symbols, [row[2] / 1e6 for row in traded], left=[row[1] / 1e6 for row in traded], label="taker",
              color="#e0a458")  # fmt: skip
    left.set(xlabel="traded, millions of the quote asset")
    left.legend(frameon=False)
    right.boxplot([slips.get(one, []) for one in symbols], positions=range(len(symbols)), orientation="horizontal",
                  showfliers=False, manage_ticks=False)  # fmt: skip
    right.axvline(0, color="#999999", linewidth=0.8)
    right.set(xlabel="slippage of limit orders as taker, basis points")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    draw(*sys.argv[1:])
