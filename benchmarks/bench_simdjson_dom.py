"""simdjson DOM, C++: parsed, then every object walked once. Bare fractions went through a double."""

from contest import native_tests

test_native, test_cold, test_first = native_tests("simdjson_dom", "simdjson DOM", exact=False)
