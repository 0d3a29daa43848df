"""Other Cython modules can read records as structs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import execwire

if TYPE_CHECKING:
    from types import ModuleType

ENGINE = """
# cython: language_level=3
from libc.stdint cimport int64_t, uint8_t
from execwire.core cimport (
    EW_ABI, EW_DEC_VALUE, EW_ERR_TRUNCATED, EW_OK, EW_ORDER, EW_SIDE_BUY, EW_STATUS_FILLED, Decoder, dec_double,
    dec_scaled, ew_record, ew_status,
)
from execwire import core

if EW_ABI != core.ABI:
    raise ImportError("built for another execwire")


cdef class Engine:
    cdef Decoder decoder
    cdef public int64_t bought
    cdef public double last_price
    cdef public int orders
    cdef public str event

    def __init__(self, decoder):
        self.decoder = decoder

    cdef ew_status on_payload(self, const uint8_t *p, size_t n, int64_t now) noexcept nogil:
        cdef size_t n_records, i
        cdef const ew_record *record
        cdef int64_t qty
        cdef ew_status status = self.decoder.feed(p, n, now, &n_records)
        if status != EW_OK:
            return status
        for i in range(n_records):
            record = self.decoder.get(i)
            if record.h.kind != EW_ORDER or record.h.ts_recv != now:
                continue
            self.orders += 1
            if record.order.side == EW_SIDE_BUY and record.order.price.state == EW_DEC_VALUE:
                self.last_price = dec_double(record.order.price)
                if dec_scaled(record.order.last_qty, 8, &qty) == 0:
                    self.bought += qty
        return EW_OK

    def on_bytes(self, bytes payload, int64_t now):
        cdef const uint8_t *p = payload
        cdef size_t n = len(payload)
        cdef ew_status status
        with nogil:
            status = self.on_payload(p, n, now)
        if status == EW_ERR_TRUNCATED:
            return self.decoder.failure().message.decode()
        if status == EW_OK and self.decoder.get(0) != NULL:
            self.event = self.decoder.event_name(self.decoder.get(0)).decode()
        return "ok" if self.decoder.get(10 ** 6) == NULL else "?"

    def forget(self):
        self.decoder.forget()
"""

PAYLOAD = (
    b'{"e":"executionReport","E":1790000000123,"s":"SOLEUR","S":"BUY","x":"TRADE","X":"FILLED","i":7,"p":"131.2500",'
    b'"l":"0.10000001","strange":[1]}'
)


def compiler() -> list[str] | None:
    words = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    return words if words and shutil.which(words[0]) else None


def compiled(name: str, source: str, folder: Path) -> ModuleType:
    """A user's Cython module."""
    cython = pytest.importorskip("Cython.Compiler.Main")
    cc = compiler()
    if cc is None:
        pytest.skip("no C compiler")
    (folder / f"{name}.pyx").write_text(source, "utf-8")
    package = Path(execwire.__file__).parent
    options = cython.CompilationOptions(include_path=[str(package.parent)], language_level=3)
    assert cython.compile([str(folder / f"{name}.pyx")], options).num_errors == 0
    library = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    # The header alone: in the source tree, others stand beside it.
    shutil.copy(Path(execwire.get_include(), "execwire.h"), folder)
    command = [*cc, "-shared", "-fPIC", "-O1", f"-I{sysconfig.get_path('include')}", f"-I{folder}", "-o", str(library)]
    subprocess.run([*command, str(folder / f"{name}.c")], check=True, capture_output=True, text=True)
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def engine_module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return compiled("engine", ENGINE, tmp_path_factory.mktemp("cimport"))


def test_an_engine_reads_structs(engine_module: object) -> None:
    decoder = execwire.Decoder("binance-spot")
    engine = engine_module.Engine(decoder)  # type: ignore[attr-defined]
    for now in (1, 2, 3):
        assert engine.on_bytes(PAYLOAD, now) == "ok"
    assert (engine.orders, engine.bought, engine.last_price) == (3, 3 * 10_000_001, 131.25)
    assert engine.event == "executionReport"
    # The same decoder's records from Python.
    assert decoder.order is not None
    assert decoder.order.ts_recv == 3
    assert decoder.order.extra == {"strange": [1]}
    assert decoder.stats.messages == 3


def test_errors_without_an_exception(engine_module: object) -> None:
    decoder = execwire.Decoder("binance-spot")
    engine = engine_module.Engine(decoder)  # type: ignore[attr-defined]
    message = engine.on_bytes(PAYLOAD[:-1], 1)
    assert isinstance(decoder.error, execwire.DecodeError)
    assert message == decoder.error.message
    assert len(decoder.records) == 0
    assert engine.on_bytes(PAYLOAD, 1) == "ok"
    assert decoder.error is None


def test_a_payload_that_is_gone_is_not_read(engine_module: object) -> None:
    decoder = execwire.Decoder("binance-spot")
    engine = engine_module.Engine(decoder)  # type: ignore[attr-defined]
    engine.on_bytes(PAYLOAD, 1)
    engine.forget()
    assert decoder.order is not None
    assert str(decoder.order.price) == "131.2500"  # is in the record
    for name in ("extra", "payload"):
        with pytest.raises(ReferenceError, match="payload"):
            getattr(decoder.order, name)
    engine.on_bytes(PAYLOAD, 1)
    kept = decoder.order.copy()
    engine.forget()
    assert kept.extra == {"strange": [1]}
    assert decoder.order.extra == kept.extra  # the copy has kept it for the view too
