"""json.loads of the standard library: dicts of strings, nothing converted."""

from contest import python_test

test_python = python_test("json.loads")
