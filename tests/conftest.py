"""What several tests get by its name."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

import pytest

from execwire import core

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Tls(NamedTuple):
    """A server on 127.0.0.1, and who trusts it."""

    pem: Path  # the server's key and certificate
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Certificates that nobody else trusts."""
    authority = pytest.importorskip("trustme").CA()
    issued = authority.issue_cert("127.0.0.1")
    made = Tls(
        tmp_path_factory.mktemp("tls") / "pem",
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        ssl.create_default_context(),
    )
    issued.private_key_and_cert_chain_pem.write_to_path(str(made.pem))
    issued.configure_cert(made.server)
    authority.configure_trust(made.client)
    return made


@pytest.fixture(params=["in C", "in Python"])
def inflater(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways to inflate gzip."""
    core._inflate_in_c(request.param == "in C")  # type: ignore[attr-defined]
    yield
    core._inflate_in_c(True)  # type: ignore[attr-defined]
