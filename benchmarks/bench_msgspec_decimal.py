"""msgspec, typed with Decimal: the best exact peer."""

from contest import python_test

test_python = python_test("msgspec, typed, Decimal")
