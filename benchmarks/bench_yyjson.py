"""yyjson, C: parsed in place, then every object walked once."""

from contest import native_tests

test_native, test_cold, test_first = native_tests("yyjson", "yyjson")
