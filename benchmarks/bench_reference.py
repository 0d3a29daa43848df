"""execwire's own reference decoder: pure Python, made to be obvious."""

from contest import python_test

test_python = python_test("execwire's reference decoder")
