"""The repository agrees with itself: versions, sizes, and what the README says about the header."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import execwire

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "csrc" / "execwire.h"
MAX_LINES = 1200

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="not a source tree")


def test_changelog_starts_with_the_package_version() -> None:
    first = re.search(r"^## \[(.+?)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first is not None
    assert first[1] == execwire.__version__
    assert first[2] == "unreleased" or re.fullmatch(r"\d{4}-\d\d-\d\d", first[2])


def test_pyproject_has_the_package_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    if "version" in project:
        assert project["version"] == execwire.__version__


def test_no_source_file_is_too_long_to_read() -> None:
    sources = [
        path
        for folder in ("src", "csrc")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".toml"}
        and "build" not in path.relative_to(ROOT).parts
    ]
    assert sources
    too_long = {str(p.relative_to(ROOT)): n for p in sources if (n := len(p.read_bytes().splitlines())) > MAX_LINES}
    assert not too_long


def _fields_of_the_readme() -> dict[str, list[str]]:
    section = (ROOT / "README.md").read_text("utf-8").partition("## Records")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE)
    return {kind: re.findall(r"`(\w+)`", fields) for kind, fields in rows}


def _fields_of_the_header() -> dict[str, list[str]]:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text("utf-8"), flags=re.DOTALL)
    kinds = re.search(r"typedef enum ew_kind \{(.*?)\}", text, re.DOTALL)
    assert kinds is not None
    names = [n.lower().removeprefix("ew_") for n in re.findall(r"\bEW_\w+", kinds[1])]
    found = {}
    for kind in (n for n in names if n not in {"none", "kinds"}):
        body = re.search(rf"typedef struct ew_{kind} \{{(.*?)\}} ew_{kind};", text, re.DOTALL)
        assert body is not None, kind
        declarations = [line.split(None, 1)[1] for line in body[1].split(";") if line.strip()]
        fields = [name.strip() for line in declarations for name in line.split(",")]
        found[kind] = [name for name in fields if name != "h" and not name.startswith("reserved")]
    return found


def test_readme_lists_every_kind_with_every_field_of_the_header() -> None:
    readme, header = _fields_of_the_readme(), _fields_of_the_header()
    assert {kind: sorted(fields) for kind, fields in readme.items()} == {
        kind: sorted(fields) for kind, fields in header.items()
    }


def test_readme_lists_every_venue() -> None:
    section = (ROOT / "README.md").read_text("utf-8").partition("## Venues")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) == sorted(execwire.venues.names())


@pytest.mark.parametrize("name", ["execwire", *(f"execwire.{m.name}" for m in pkgutil.iter_modules(execwire.__path__))])
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0
