"""pysimdjson: one parser, every message turned into dicts and lists of strings."""

from contest import python_test
from execwire.bench import Contender, parsed


def _prepare(messages):
    import simdjson

    parse = simdjson.Parser().parse
    return parsed(lambda payload: parse(payload).as_dict())(messages)


test_python = python_test(Contender("pysimdjson", "pysimdjson", _prepare))
