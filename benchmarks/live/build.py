"""Compiles `compiled.pyx` into a folder of its own, as a user of the package would."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import execwire

if TYPE_CHECKING:
    from types import ModuleType

HERE = Path(__file__).resolve().parent


def build() -> ModuleType:
    """The module, compiled now unless it was.

    Raises
    ------
    ImportError
        If there is no Cython or no C compiler.
    """
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    source = HERE / "compiled.pyx"
    folder = Path(tempfile.gettempdir()) / f"execwire-live-{int(source.stat().st_mtime)}"
    library = folder / f"compiled{suffix}"
    inputs = [*Path(execwire.__file__).parent.glob("*.pxd"), source]
    if not library.exists() or any(one.stat().st_mtime > library.stat().st_mtime for one in inputs):
        from Cython.Compiler import Main

        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:  # others may be building the same right now
            shutil.copy(source, place)
            made = Path(place, library.name)
            options = Main.CompilationOptions(
                include_path=[str(Path(execwire.__file__).parent.parent)], language_level=3
            )
            if Main.compile([f"{place}/compiled.pyx"], options).num_errors:
                raise ImportError("compiled.pyx does not compile")
            cc = (sysconfig.get_config_var("CC") or "cc").split()
            command = [*cc, "-shared", "-fPIC", "-O3", f"-I{sysconfig.get_path('include')}",
                       f"-I{execwire.get_include()}", "-o", str(made), f"{place}/compiled.c"]  # fmt: skip
            if subprocess.run(command, check=False, capture_output=True).returncode:
                raise ImportError("no C compiler")
            made.replace(library)
    spec = importlib.util.spec_from_file_location("compiled", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
