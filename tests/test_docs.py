"""docs/ says what happens: its examples run, its picture is made by its script, its recipes by their engines."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "from-capture-to-answer.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="not a source tree")


def blocks(of: str = "") -> list[str]:
    """Python of the page, or of one of its sections."""
    text = PAGE.read_text("utf-8")
    if of:
        text = re.split(r"^##", text.partition(f"\n### {of}\n")[2], flags=re.MULTILINE)[0]
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's examples have run."""
    pytest.importorskip("polars")
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    found = tmp_path_factory.mktemp("docs")
    examples = [block for block in blocks() if ">>>" in block]
    assert len(examples) >= 5
    test = doctest.DocTestParser().get_doctest("\n".join(examples), {}, PAGE.name, str(PAGE), 0)
    runner, report, before = doctest.DocTestRunner(optionflags=FLAGS), list[str](), Path.cwd()
    os.chdir(found)
    try:
        runner.run(test, out=report.append)
    finally:
        os.chdir(before)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
    return found


def test_the_examples_give_what_they_say(folder: Path) -> None:
    assert (folder / "spot.gz").stat().st_size > 100_000


def test_the_picture(folder: Path) -> None:
    """It is the committed one, up to what another matplotlib draws differently."""
    pytest.importorskip("matplotlib")
    script = [sys.executable, str(DOCS / "picture.py"), "spot.gz", "answer.svg"]
    subprocess.run(script, cwd=folder, check=True, timeout=120)
    made, committed = ((one / name).read_text("utf-8") for one, name in (
        (folder, "answer.svg"), (DOCS, "from-capture-to-answer.svg")))  # fmt: skip

    def texts(svg: str) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]+)</text>", svg)

    assert texts(made) == texts(committed)
    assert {"BTCUSDT", "maker", "taker"} <= set(texts(made))


@pytest.mark.parametrize(("section", "module"), [("Dask", "distributed"), ("Ray Data", "ray"), ("Spark", "pyspark")])
def test_the_recipes(folder: Path, tmp_path: Path, section: str, module: str) -> None:
    pytest.importorskip(module)
    (recipe,) = blocks(section)
    (tmp_path / "recipe.py").write_text(recipe, "utf-8")
    (tmp_path / "captures").mkdir()
    for i in range(3):
        shutil.copy(folder / "spot.gz", tmp_path / "captures" / f"{i}.gz")
    env = os.environ | {"PYSPARK_PYTHON": sys.executable, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, "recipe.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    if section == "Dask":
        messages, counts = re.fullmatch(r"(\d+) (\{.*\}) None", last).groups()  # type: ignore[union-attr]
        assert int(messages) > 3 * 9000
        assert f"'order': {3 * 4949}" in counts
    else:
        assert last == str(3 * 2464)
