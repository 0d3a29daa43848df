"""simdjson DOM, C++: parsed, then every object walked once. Bare fractions went through a double."""

from contest import EVENTS, HARD, MAIN, in_turns, over, time_native

CONTENDER = ("simdjson_dom", "simdjson DOM")


@over((*EVENTS, *HARD))
@in_turns
def test_native(benchmark, event, turn):
    time_native(benchmark, *CONTENDER, event, exact=False)


@over(MAIN)
@in_turns
def test_cold(benchmark, event, turn):
    time_native(benchmark, *CONTENDER, event, "cold", exact=False)


@over(MAIN)
@in_turns
def test_first(benchmark, event, turn):
    time_native(benchmark, *CONTENDER, event, "first", exact=False)
