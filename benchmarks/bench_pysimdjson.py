"""pysimdjson: one parser, every message turned into dicts and lists of strings."""

from contest import EVENTS, in_turns, over, time_python
from execwire.bench import Contender, parsed


def _prepare(messages):
    import simdjson

    parse = simdjson.Parser().parse
    return parsed(lambda payload: parse(payload).as_dict())(messages)


CONTENDER = Contender("pysimdjson", "pysimdjson", _prepare)


@over(EVENTS)
@in_turns
def test_python(benchmark, event, turn):
    time_python(benchmark, CONTENDER, event)
