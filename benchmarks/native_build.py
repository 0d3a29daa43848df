"""The native contenders: compiled into build/bench, loaded with ctypes.

simdjson and yyjson are taken from where pkg-config finds them, or from the folders that SIMDJSON and YYJSON name
(``simdjson.cpp`` and ``simdjson.h``; ``yyjson.c`` and ``yyjson.h``). Peers are compiled for this very machine; execwire
as its Makefile does it, as users get it.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from execwire import venues

if TYPE_CHECKING:
    from execwire.workload import Workload

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "benchmarks" / "native"
BUILD = ROOT / "build" / "bench"

CC, CXX = os.environ.get("CC", "gcc"), os.environ.get("CXX", "g++")


class MissingError(Exception):
    """Something that a contender needs is not installed. The message is a few words."""


def run(*command: str | Path) -> str:
    """What a command prints."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def _package(name: str, folder_variable: str, sources: list[str]) -> tuple[list[str], list[Path]]:
    """Compiler flags, and sources to compile in."""
    if folder := os.environ.get(folder_variable):
        found = [Path(folder, source).resolve() for source in sources]
        if not all(path.exists() for path in found):
            raise MissingError(f"{folder_variable} names a folder without {', '.join(sources)}")
        return [f"-I{found[0].parent}"], found
    if shutil.which("pkg-config") is None:
        raise MissingError("no pkg-config")
    try:
        return run("pkg-config", "--cflags", "--libs", name).split(), []
    except RuntimeError:
        raise MissingError(f"no {name}") from None


@functools.cache
def library() -> Path:
    """Build the C library."""
    if shutil.which(CC) is None or shutil.which("make") is None:
        raise MissingError("no C compiler")
    run("make", "-C", ROOT / "csrc", f"CC={CC}", "all")
    return ROOT / "csrc" / "build" / Path(CC).name / "libexecwire.a"


def _compile(target: Path, compiler: str, flags: list[str], sources: list[Path], link: list[str]) -> Path:
    """Compile into an object a source, then all into the target."""
    static = library()
    target.parent.mkdir(parents=True, exist_ok=True)
    stamp = target.with_suffix(".stamp")
    key = hashlib.sha256(repr((compiler, flags, sources, link)).encode())
    for path in [*sources, *sorted(NATIVE.glob("*.h")), ROOT / "csrc" / "execwire.h", static]:
        key.update(path.read_bytes())
    if target.exists() and stamp.exists() and stamp.read_text() == key.hexdigest():
        return target
    objects = []
    for source in sources:
        plus = source.suffix == ".cpp"
        objects.append(target.with_name(f"{target.stem}-{source.stem}.o"))
        standard = "-std=c++17" if plus else "-std=c11"
        mine = flags if source.name != "harness.c" else [flag for flag in flags if flag != "-march=native"]
        run(CXX if plus else CC, standard, *mine, f"-I{ROOT / 'csrc'}", "-c", source, "-o", objects[-1])
    run(compiler, *[flag for flag in flags if flag.startswith("-O")], *objects, static, *link, "-lm", "-o", target)
    stamp.write_text(key.hexdigest())
    return target


@functools.cache
def build(name: str) -> Path:
    """Build the library of a contender.

    That is execwire, execwire_blank, frames, frames_bare, yyjson, simdjson_ondemand or simdjson_dom.
    """
    flags = ["-O3", "-fPIC", "-Wall", "-Wextra", "-Wno-unused-function"]
    sources, link, compiler = [NATIVE / "harness.c"], ["-shared", "-Wl,-Bsymbolic"], CC
    if name.startswith("execwire"):
        sources.append(NATIVE / "execwire.c")
        flags += ["-DBLANK"] if name == "execwire_blank" else []
    elif name.startswith("frames"):
        sources.append(NATIVE / "frames.c")
        flags += ["-DBARE"] if name == "frames_bare" else []
        link += ["-ldl"]
    elif name == "yyjson":
        found, extra = _package("yyjson", "YYJSON", ["yyjson.c", "yyjson.h"])
        sources += [NATIVE / "yyjson.c", *(path for path in extra if path.suffix == ".c")]
        flags += ["-march=native", *(flag for flag in found if not flag.startswith("-l"))]
        link += [flag for flag in found if flag.startswith("-l")]
    else:
        if shutil.which(CXX) is None:
            raise MissingError("no C++ compiler")
        found, extra = _package("simdjson", "SIMDJSON", ["simdjson.cpp", "simdjson.h"])
        sources += [NATIVE / f"{name}.cpp", *(path for path in extra if path.suffix == ".cpp")]
        flags += ["-march=native", *(flag for flag in found if not flag.startswith("-l"))]
        link += [flag for flag in found if flag.startswith("-l")]
        compiler = CXX
    # Sources of the same name (yyjson.c of theirs and ours) need objects of their own.
    return _compile(BUILD / f"{name}.so", compiler, flags, _distinct(sources), link)


def _distinct(sources: list[Path]) -> list[Path]:
    seen: dict[str, Path] = {}
    for path in sources:
        if path.stem in seen:
            copy = BUILD / f"peer-{path.name}"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            path = copy
        seen[path.stem] = path
    return list(seen.values())


@functools.cache
def program() -> Path:
    """Build the program that only decodes, for callgrind."""
    flags = ["-O3", "-DBENCH_MAIN"]
    return _compile(BUILD / "execwire-passes", CC, flags, [NATIVE / "harness.c", NATIVE / "execwire.c"], [])


def columns_program() -> Path:
    """Build the program that decodes into columns, for callgrind."""
    return _compile(BUILD / "execwire-columns", CC, ["-O3"], [NATIVE / "columns.c"], [])


def message_file(messages: Workload) -> Path:
    """The messages as the harness reads them."""
    path = BUILD / f"{messages.name}.messages"
    content = b"".join(struct.pack("<I", len(message)) + message for message in messages.messages)
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return path


def table_file(venue: str) -> Path:
    """The venue's dialect as a table."""
    path = BUILD / f"{venue}.tab"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(venues.load(venue).table(), encoding="utf-8")
    return path


class Native:
    """A native contender with the messages of one workload."""

    def __init__(self, name: str, messages: Workload) -> None:
        self.library = ctypes.CDLL(str(build(name)))
        self.library.bench_open.restype = ctypes.c_void_p
        self.library.bench_version.restype = ctypes.c_char_p
        self.library.bench_pass.restype = self.library.bench_memory.restype = ctypes.c_size_t
        self.library.bench_fresh.restype = self.library.bench_cold.restype = ctypes.c_double
        self.name = name
        self.messages = messages
        handle = self.library.bench_open(
            os.fsencode(message_file(messages)), messages.venue.encode(), os.fsencode(table_file(messages.venue))
        )
        if not handle:
            raise RuntimeError(f"{name} cannot be opened")
        self.handle = ctypes.c_void_p(handle)

    @property
    def version(self) -> str:
        """Of the parser."""
        text: bytes = self.library.bench_version()
        return text.decode()

    def decode(self, count: int) -> None:
        """Decode the first messages."""
        failed = self.library.bench_pass(self.handle, ctypes.c_size_t(count))
        if failed:
            raise RuntimeError(f"{self.name}: {failed} messages of {self.messages.name} failed")

    def memory(self) -> int:
        """Bytes that a decoder holds after all messages."""
        held: int = self.library.bench_memory(self.handle)
        return held

    def cold(self, count: int) -> float:
        """ns per message with cold caches and predictors."""
        ns: float = self.library.bench_cold(self.handle, ctypes.c_size_t(count))
        return ns

    def fresh(self, first: int, decoders: int) -> float:
        """ns per message for the first messages of fresh decoders."""
        ns: float = self.library.bench_fresh(self.handle, ctypes.c_size_t(first), ctypes.c_size_t(decoders))
        return ns

    def told(self, count: int) -> list[list[dict[str, object]]]:
        """The records of the first messages; ids were told as text and number, and are compared here."""
        path = BUILD / f"{self.name}.told"
        if self.library.bench_dump(self.handle, os.fsencode(path), ctypes.c_size_t(count)):
            raise RuntimeError(f"{path} cannot be written")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for number, records in enumerate(lines):
            if None in records:
                raise RuntimeError(f"{self.name} fails on message {number} of {self.messages.name}")
        return [[_text_ids(record) for record in records] for records in lines]


def _text_ids(record: dict[str, object]) -> dict[str, object]:
    for name, value in record.items():
        if isinstance(value, list):
            text, is_number, number = value
            plain = text.isdigit() and (text == "0" or text[0] != "0") and int(text) < 2**64
            if bool(is_number) != plain or (plain and int(text) != number):
                raise RuntimeError(f"{name} is {text}, and number {number if is_number else 'none'}")
            record[name] = text
    return record


if __name__ == "__main__":
    sys.exit("nothing to run here: make bench")
