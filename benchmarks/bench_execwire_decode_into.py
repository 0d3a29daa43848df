"""execwire, Python: decode_into makes no object."""

from contest import EVENTS, in_turns, over, time_python
from execwire.bench import CONTENDERS

(CONTENDER,) = (one for one in CONTENDERS if one.name == "execwire decode_into")


@over(EVENTS)
@in_turns
def test_python(benchmark, event, turn):
    time_python(benchmark, CONTENDER, event)
