"""The layout of picows' classes, as a hash: what a compiled listener depends on, and no version number tells.

Used twice: by setup.py, which builds the hash of its picows into the listener, and when the listener is imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

__all__ = ["CLASSES", "declarations", "installed_layout", "layout"]

#: The classes that the listener reads or derives from.
CLASSES = ("WSFrame", "WSListener", "WSTransport")


def declarations() -> str:
    """The declarations of the installed picows, without importing it.

    Raises
    ------
    ImportError
        If picows or its declarations are not there.
    """
    spec = importlib.util.find_spec("picows")
    path = Path(spec.origin).with_name("picows.pxd") if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise ImportError("picows is not installed, or without its declarations (picows.pxd)")
    return path.read_text("utf-8")


def layout(text: str) -> str:
    """Hash the bodies of the classes in a pxd; comments and spaces do not count.

    Parameters
    ----------
    text : str
        The file.

    Raises
    ------
    ImportError
        If a class is missing.
    """
    digest = hashlib.sha256()
    for name in CLASSES:
        match = re.search(rf"^cdef class {name}\b.*:\n((?:[ \t]+.*\n|\s*\n)+)", text, re.MULTILINE)
        if match is None:
            raise ImportError(f"picows.pxd declares no class {name}")
        lines = (re.sub(r"#.*", "", line) for line in match[1].splitlines())
        digest.update("\n".join([name, *(" ".join(line.split()) for line in lines if line.strip())]).encode())
    return digest.hexdigest()[:16]


def installed_layout() -> str:
    """The hash of the installed picows' layout."""
    return layout(declarations())
