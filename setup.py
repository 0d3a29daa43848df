"""The extension modules. Everything else about the package is in pyproject.toml.

Switches, from the environment:

``EXECWIRE_DEBUG=1``     no optimisation, assertions on
``EXECWIRE_SANITIZE=1``  AddressSanitizer and UBSan, for a Python that preloads their runtimes
``EXECWIRE_COVERAGE=1``  line coverage of the C files (gcov) and of the Cython files (coverage's Cython plugin)
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

DEBUG, SANITIZE, COVERAGE = (
    os.environ.get(f"EXECWIRE_{name}", "") not in ("", "0") for name in ("DEBUG", "SANITIZE", "COVERAGE")
)

compile_args = ["-std=c11", "-fvisibility=hidden"]
link_args: list[str] = []
macros: list[tuple[str, str | None]] = []
directives: dict[str, object] = {}

if SANITIZE:
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    compile_args += ["-O1", "-g", *flags]
    link_args += flags
elif COVERAGE:
    compile_args += ["-O0", "-g", "--coverage"]
    link_args += ["--coverage"]
    macros += [("CYTHON_TRACE_NOGIL", "1")]
    directives["linetrace"] = True
elif DEBUG:
    compile_args += ["-O0", "-g3", "-UNDEBUG"]
else:
    compile_args += ["-O3", "-g0"]
    macros += [("NDEBUG", None)]

# The listener is good for this layout of picows' classes only, and checks at import that it met it again.
PICOWS_LAYOUT = runpy.run_path("src/execwire/picows_layout.py")["installed_layout"]()


class BuildExt(build_ext):
    """Tells the modules their version, which pyproject.toml alone knows; has the C library built before.

    Modules are compiled side by side, on all processors unless ``--parallel`` says how many.
    """

    def finalize_options(self) -> None:
        """Settle the options."""
        super().finalize_options()
        if self.parallel is None:
            self.parallel = True

    def run(self) -> None:
        """Build what there is to build."""
        self.run_command("build_clib")
        super().run()

    def build_extension(self, ext: Extension) -> None:
        """Compile one module."""
        ext.define_macros = [*ext.define_macros, ("EXECWIRE_VERSION", f'"{self.distribution.get_version()}"')]
        super().build_extension(ext)


class BuildPy(build_py):
    """Puts the C header into the package, so that `execwire.get_include` works where there is no source tree."""

    def run(self) -> None:
        """Copy the package."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "execwire", "include")
            self.mkpath(str(target))
            self.copy_file("csrc/execwire.h", str(target / "execwire.h"))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """List the files that `run` makes."""
        header = [] if self.editable_mode else [str(Path(self.build_lib, "execwire", "include", "execwire.h"))]
        return [*super().get_outputs(include_bytecode), *header]


C_SOURCES, C_HEADERS = (sorted(map(str, Path("csrc").glob(f"*.{ending}"))) for ending in "ch")
# Static: it is small and has no global state, so that every module may have a copy of what it needs.
LIBRARY = (
    "execwire_core",
    {
        "sources": C_SOURCES,
        "obj_deps": {"": C_HEADERS},
        "include_dirs": ["csrc"],
        "macros": macros,
        "cflags": compile_args,
    },
)


def extension(name: str) -> Extension:
    """A module."""
    return Extension(
        f"execwire.{name}",
        [f"src/execwire/{name}.pyx"],
        depends=[*C_SOURCES, *C_HEADERS],
        include_dirs=["csrc"],
        define_macros=[*macros, ("EXECWIRE_PICOWS_LAYOUT", f'"{PICOWS_LAYOUT}"')],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )


setup(
    libraries=[LIBRARY],
    ext_modules=cythonize(
        list(map(extension, ("core", "records", "columns", "arrow", "delivery", "stream"))),
        include_path=["src"],
        compiler_directives=directives,
        build_dir="build/cython",
        force=COVERAGE,
    ),
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
)
