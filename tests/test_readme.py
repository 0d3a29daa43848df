"""The README's examples run, and give what it says they give.

Python blocks are doctests that share one namespace; console blocks run in a shell in the repository's root; the C and
the Cython example are compiled and run.
"""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

pytestmark = pytest.mark.skipif(not README.exists(), reason="not a source tree")


def blocks(language: str) -> list[str]:
    if not README.exists():
        return []
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def run(command: str | list[str], **options: object) -> str:
    """What a command prints on standard output; its failure is the test's."""
    env = os.environ | {
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "NO_COLOR": "1",
        "PYTHONUTF8": "1",
    }
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stderr}"
    return done.stdout


def test_python_examples() -> None:
    examples = [block for block in blocks("python") if ">>>" in block]
    assert len(examples) >= 3
    test = doctest.DocTestParser().get_doctest("\n".join(examples), {}, "README.md", str(README), 0)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    report: list[str] = []
    runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def sessions() -> list[tuple[str, str]]:
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            # A command goes on over lines that end in a backslash.
            command, output = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n(.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
            found.append((command, output))
    return found


@pytest.mark.skipif(os.name != "posix", reason="the examples are shell commands")
@pytest.mark.parametrize(("command", "expected"), sessions())
def test_console_examples(command: str, expected: str) -> None:
    if command.startswith(("make", "git")):
        pytest.skip("shown, not run: it would run this test")
    got = run(command, shell=True)
    assert doctest.OutputChecker().check_output(expected, got, FLAGS), f"$ {command}\n{got}"


def test_there_are_console_examples() -> None:
    assert any("execwire decode" in command for command, _ in sessions())


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_c_example(tmp_path: Path) -> None:
    (source,) = blocks("c")
    (tmp_path / "example.c").write_text(source, "utf-8")
    (tmp_path / "venue.table").write_text(run(["execwire", "venues", "binance-spot", "--table"]), "utf-8")
    library = sorted(str(path) for path in (ROOT / "csrc").glob("*.c"))
    compile_ = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}", str(tmp_path / "example.c")]
    run([*compile_, *library, "-lm", "-o", str(tmp_path / "example")])
    payload = b'{"e":"executionReport","E":1790000000000,"s":"BTCUSDT","p":"91250.10","X":"NEW"}'
    (tmp_path / "payload").write_bytes(payload)
    assert run([str(tmp_path / "example"), str(tmp_path / "venue.table"), str(tmp_path / "payload")]) == (
        "BTCUSDT 91250.10\n"
    )


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("Cython", "setuptools")), reason="needs Cython and setuptools"
)
def test_cython_example(tmp_path: Path) -> None:
    (source,) = blocks("cython")
    (tmp_path / "engine.pyx").write_text(source, "utf-8")
    (tmp_path / "setup.py").write_text(
        "import execwire\n"
        "from Cython.Build import cythonize\n"
        "from setuptools import Extension, setup\n"
        "setup(name='engine', ext_modules=cythonize([Extension('engine', ['engine.pyx'],"
        " include_dirs=[execwire.get_include()])]))\n",
        "utf-8",
    )
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    check = (
        "import engine\n"
        'payload = b\'{"e":"executionReport","s":"BTCUSDT","p":"91250.10","X":"NEW"}\'\n'
        "print(engine.run('binance-spot', [payload] * 3))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3\n"
