"""Sessions for tests against the local exchange: every way to log in, and what is looked for in what comes."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
import uvloop

import execwire
from execwire.auth import Credentials, Verifier
from execwire.exchange import ApiKey, Exchange
from execwire.sessions import Key, Session

API_KEY, SECRET, PASSPHRASE = "api-key-0123456789", "secret-0123456789", "passphrase-0123456789"
CREDENTIALS = Credentials(API_KEY, SECRET, PASSPHRASE)
FAST = {"backoff": {"first": 0.02, "longest": 0.2}}


def run(main: Any, seconds: float = 100) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(main, seconds)

    return uvloop.run(bounded())


def exchange(venue: str | None = None, **more: Any) -> Exchange:
    more.setdefault("keys", [ApiKey(API_KEY, CREDENTIALS.verifier(), PASSPHRASE)])
    more.setdefault("rate", 200.0)
    return Exchange([venue] if venue else None, **more)


def fast(venue: str, **changes: Any) -> execwire.venues.Venue:
    """The venue with other durations, as a file of ones own would have them."""
    import dataclasses

    from execwire import rules

    found = execwire.venues.load(venue)
    return dataclasses.replace(found, session=rules.merge({**FAST, **changes}, found.session))


def session(server: Exchange, venue: str, credentials: Any = CREDENTIALS, **more: Any) -> Session:
    changes = more.pop("changes", {})
    more.setdefault("url", f"ws://{server.origin}")
    more.setdefault("rest_url", server.rest_url(venue))
    return Session(fast(venue, **changes), credentials, **more)


async def until(stream: Session, enough: Any) -> list[execwire.Record]:
    """Records, up to the one that is enough."""
    records = []
    async for record in stream:
        records.append(record)
        if enough(record, records):
            break
    return records


def events(records: list[execwire.Record], *names: str) -> list[str]:
    """Notices of the session, in order."""
    names = names or ("connected", "disconnected", "gap", "reconnected")
    return [one.event for one in records if one.kind == "notice" and one.event in names]


def is_data(record: execwire.Record) -> bool:
    return record.kind != "notice"


def after(**wanted: int) -> Any:
    """Enough: so many of these notices, and of `data` records. Looks at every record once only."""
    counts: Counter[str] = Counter()

    def enough(one: execwire.Record, seen: list[execwire.Record]) -> bool:
        counts["data" if is_data(one) else one.event] += 1
        return all(counts[name] >= times for name, times in wanted.items())

    return enough


KEYS: dict[str, tuple[Credentials, ApiKey]] = {}


def pair(kind: str) -> tuple[Credentials, ApiKey]:
    """A private key, and what the exchange knows of it."""
    if kind not in KEYS:
        pytest.importorskip("cryptography")
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

        key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        KEYS[kind] = (
            Credentials(API_KEY, passphrase=PASSPHRASE, private_key=private),
            ApiKey(API_KEY, Verifier(public_key=public), PASSPHRASE),
        )
    return KEYS[kind]


WAYS = [
    ("binance-spot", (), "hmac", {}),
    ("binance-spot", (), "ed25519", {}),
    ("binance-spot", (), "rsa", {}),
    ("binance-spot", ("logon",), "ed25519", {}),
    ("binance-spot", ("listen_token",), "hmac", {}),
    ("binance-spot", ("sbe",), "hmac", {}),
    ("binance-spot", ("microseconds",), "hmac", {}),
    ("binance-spot", ("listen_key",), "key", {"spot_listen_keys": 1}),
    ("binance-spot", ("listen_key", "combined"), "key", {"spot_listen_keys": 1}),
    *(("binance-futures", variant, "key", {}) for variant in (
        (), ("private_all",), ("private_path",), ("private_stream",), ("ws",), ("stream",), ("coinm",),
        ("coinm", "stream"), ("coinm", "coinm_auth"), ("pm",),
    )),
    *(("bitget", variant, "hmac", {}) for variant in ((), ("millis",), ("hex",), ("uta",), ("json_ping",))),
    ("bitget", (), "rsa", {}),
    *(("bitget-v1", variant, "hmac", {}) for variant in ((), ("hex",), ("mix",))),
    ("openapi-broker", (), "hmac", {"openapi_header": "X-BH-APIKEY"}),
    ("openapi-broker", ("toobit",), "hmac", {"openapi_header": "X-BB-APIKEY"}),
    ("openapi-broker", ("hashkey",), "hmac", {"openapi_header": "X-HK-APIKEY"}),
    ("openapi-broker", ("userdata",), "hmac", {}),
    *(("gzip-broker", variant, "key", {}) for variant in ((), ("token",), ("futures",), ("futures_token",))),
]  # fmt: skip

ALL = ["binance-spot", "binance-futures", "bitget", "bitget-v1", "openapi-broker", "gzip-broker"]


def credentials_for(venue: str) -> Any:
    return Key(API_KEY) if venue == "gzip-broker" else CREDENTIALS
