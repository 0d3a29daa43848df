"""execwire, Python: decode gives records that own their memory."""

from contest import python_test

test_python = python_test("execwire decode")
