"""execwire, Python: decode_into makes no object."""

from contest import python_test

test_python = python_test("execwire decode_into")
