"""Contenders take turns: everything is run in order of event, then of turn, then of contender."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    # A contender that is skipped, or fails before it is timed, does not use the fixture.
    config.addinivalue_line("filterwarnings", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    events: dict[tuple[str, str], int] = {}

    def place(item: pytest.Item) -> tuple[int, int]:
        values = item.callspec.params  # type: ignore[attr-defined]
        key = (item.name.partition("[")[0], str(values.get("event")))
        return events.setdefault(key, len(events)), values.get("turn", 0)

    items.sort(key=place)
