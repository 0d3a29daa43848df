"""simdjson On-Demand, C++: walked once, values taken from the message as they stand."""

from contest import native_tests

test_native, test_cold, test_first = native_tests("simdjson_ondemand", "simdjson On-Demand")
