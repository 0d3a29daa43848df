"""Captures to files on the machines of a distributed engine."""
