"""Hostile payloads of growing size: the time per byte must not grow with them."""

from __future__ import annotations

import pytest

import execwire
from contest import SECONDS, in_turns
from execwire import reference
from execwire.bench import one_pass
from execwire.workload import nested

SHAPES = ("deep", "objects", "flat", "backslashes", "keys")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1_000, 10_000, 100_000, 1_000_000])
@in_turns
def test_growth(benchmark, shape, size, turn):
    # All different, so that nothing can be learned.
    payloads = [nested(size, shape, variant) for variant in range(min(2_000, max(4, int(SECONDS * 2e8 / size))))]
    decoder = execwire.Decoder("binance-spot")
    if size <= 10_000:
        (record,) = decoder.decode(payloads[1])
        right = reference.decode("binance-spot", payloads[1])[0]
        assert record.to_dict(extra=True) == right, "not timed: a wrong result"
    benchmark.group = f"growth {shape}"
    benchmark.pedantic(one_pass, args=(decoder.decode_into, payloads), rounds=2, warmup_rounds=1)
    mean = sum(map(len, payloads)) / len(payloads)
    benchmark.extra_info.update(mode="growth", contender=shape, event=str(size), bytes=mean, memory=0)
    benchmark.extra_info["version"] = f"execwire {execwire.__version__}"
    if benchmark.stats is not None:
        benchmark.extra_info["ns"] = benchmark.stats.stats.min / len(payloads) * 1e9
