"""execwire's C library, with decoders that have not even seen their dialect's samples."""

from contest import native_tests

_, _, test_first = native_tests("execwire_blank", "execwire without samples")
