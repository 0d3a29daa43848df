"""The examples of CONTRIBUTING.md work as they stand there: the files are written and decoded with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest

import execwire
from execwire import reference

GUIDE = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"

pytestmark = pytest.mark.skipif(not GUIDE.exists(), reason="not a source tree")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Every TOML example that is a whole dialect, in a file named like it."""
    found = {}
    for block in blocks("toml"):
        name = tomllib.loads(block).get("name")
        if name is not None:
            found[name] = tmp_path / f"{name}.toml"
            found[name].write_text(block, "utf-8")
    return found


def examples(name: str) -> list[tuple[bytes, list[dict[str, Any]]]]:
    """Pairs of a payload and its records: the JSON blocks that follow a dialect's, by turns."""
    text = GUIDE.read_text("utf-8").partition(f'```toml\nname = "{name}"')[2].partition("```toml")[0]
    jsons = re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert jsons
    assert len(jsons) % 2 == 0
    return [(payload.encode(), orjson.loads(records)) for payload, records in zip(jsons[::2], jsons[1::2], strict=True)]


@pytest.mark.parametrize("name", ["acme", "nimbus"])
def test_example_decodes_as_shown(name: str, files: dict[str, Path]) -> None:
    for payload, expected in examples(name):
        decoder = execwire.Decoder(files[name])
        assert [record.to_dict(extra=True) for record in decoder.decode(payload)] == expected
        assert reference.decode(files[name], payload) == expected
        assert decoder.stats.unknown_keys == 0


def test_white_label_example_is_short(files: dict[str, Path]) -> None:
    assert len(files["acme"].read_text("utf-8").splitlines()) <= 12
