"""execwire's own reference decoder: pure Python, made to be obvious."""

from contest import EVENTS, in_turns, over, time_python
from execwire.bench import CONTENDERS

(CONTENDER,) = (one for one in CONTENDERS if one.name == "execwire's reference decoder")


@over(EVENTS)
@in_turns
def test_python(benchmark, event, turn):
    time_python(benchmark, CONTENDER, event)
