"""msgspec, typed with floats: the fastest peer, but not exact."""

from contest import EVENTS, in_turns, over, time_python
from execwire.bench import CONTENDERS

(CONTENDER,) = (one for one in CONTENDERS if one.name == "msgspec, typed, float")


@over(EVENTS)
@in_turns
def test_python(benchmark, event, turn):
    time_python(benchmark, CONTENDER, event)
