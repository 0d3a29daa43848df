"""msgspec, typed with floats: the fastest peer, but not exact."""

from contest import python_test

test_python = python_test("msgspec, typed, float")
