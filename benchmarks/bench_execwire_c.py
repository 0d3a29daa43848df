"""execwire's C library, by itself."""

from contest import EVENTS, HARD, MAIN, in_turns, over, time_native

CONTENDER = ("execwire", "execwire")


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
