"""The tables that the C tests and fuzzers use are those of the venues as they are now."""

from pathlib import Path

import pytest

from execwire import venues

TABLES = Path(__file__).parent.parent / "csrc" / "tests" / "tables"


@pytest.mark.parametrize("name", venues.names())
def test_table_is_up_to_date(name):
    path = TABLES / f"{name}.tab"
    table = path.read_text(encoding="utf-8") if path.exists() else ""
    assert table == venues.load(name).table(), f"{path.name} is out of date: run `make -C csrc tables`"


def test_every_table_has_a_venue():
    assert {path.stem for path in TABLES.glob("*.tab")} == set(venues.names())


def test_the_c_tests_know_every_venue():
    listed = (TABLES.parent / "files.h").read_text(encoding="utf-8")
    numbers = [listed.index(f'"{name}"') for name in venues.names()]
    assert numbers == sorted(numbers), "venue_names in files.h must be in the order of the tables' names"
