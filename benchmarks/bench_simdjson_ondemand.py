"""simdjson On-Demand, C++: walked once, values taken from the message as they stand."""

from contest import EVENTS, HARD, MAIN, in_turns, over, time_native

CONTENDER = ("simdjson_ondemand", "simdjson On-Demand")


@over((*EVENTS, *HARD))
@in_turns
def test_native(benchmark, event, turn):
    time_native(benchmark, *CONTENDER, event)


@over(MAIN)
@in_turns
def test_cold(benchmark, event, turn):
    time_native(benchmark, *CONTENDER, event, "cold")


@over(MAIN)
@in_turns
def test_first(benchmark, event, turn):
    time_native(benchmark, *CONTENDER, event, "first")
