"""execwire's C library, by itself."""

from contest import native_tests

test_native, test_cold, test_first = native_tests("execwire", "execwire")
