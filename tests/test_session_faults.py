"""Every way to a live stream, times everything that a venue can have against it: always an answer, never a hang.

The venue's own code and text reach the user, as a `SessionError` where trying again is of no use, else as a notice.
"""

# ruff: noqa: SIM117 - first the exchange, then what talks to it

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import pytest
from sessions import API_KEY, PASSPHRASE, SECRET, WAYS, events, exchange, run, session

from execwire.auth import Credentials, Verifier
from execwire.exchange import ApiKey, Faults, Options
from execwire.sessions import Key, SessionError, State

if TYPE_CHECKING:
    import execwire
    from execwire.sessions import Session

CODES = {
    "unknown key": {"binance-spot": "-2015", "binance-futures": "-2015", "bitget": "30011", "bitget-v1": "30011",
                    "openapi-broker": "-2015"},
    "wrong signature": {"binance-spot": "-1022", "bitget": "30015", "bitget-v1": "30015", "openapi-broker": "-1022"},
    "wrong passphrase": {"bitget": "30012", "bitget-v1": "30012"},
    "clock": {"binance-spot": "-1021", "bitget": "30014", "bitget-v1": "30014", "openapi-broker": "-1021"},
}  # fmt: skip
UNSIGNED = {"listen_token", "listen_key"}  # variants whose requests have neither signature nor time stamp
KEYED = [way for way in WAYS if way[0] in ("binance-futures", "openapi-broker") or "listen_key" in way[1]]


def signs(way: tuple[str, tuple[str, ...], str, dict]) -> bool:
    return way[2] != "key" and not UNSIGNED.intersection(way[1])


def every(ways: Any) -> Any:
    ways = list(ways)
    return pytest.mark.parametrize("way", ways, ids=["-".join((way[0], *way[1], way[2])) for way in ways])


@functools.cache
def pem(kind: str, number: int) -> tuple[bytes, bytes]:
    """A private key and its public one."""
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


def made(way: Any, key: str = API_KEY, passphrase: str = PASSPHRASE, *, is_wrong: bool = False) -> tuple[Any, dict]:
    """Credentials for a way, and the exchange's keys if they are not the usual ones."""
    kind = way[2]
    if kind == "key":
        return Key(key), {}
    if kind == "hmac":
        return Credentials(key, "another" if is_wrong else SECRET, passphrase), {}
    keys = [ApiKey(API_KEY, Verifier(public_key=pem(kind, 0)[1]), PASSPHRASE)]
    return Credentials(key, passphrase=passphrase, private_key=pem(kind, is_wrong)[0]), {"keys": keys}


async def told(stream: Session, enough: Any) -> tuple[list[execwire.Record], SessionError | None]:
    """What a session says until that is enough, or it ends with an error."""
    records = []
    try:
        async with asyncio.timeout(10):
            async for record in stream:
                records.append(record)
                if enough(record):
                    break
    except SessionError as error:
        return records, error
    return records, None


def is_live(record: execwire.Record) -> bool:
    return record.kind == "notice" and record.event == "connected"


def is_error(record: execwire.Record) -> bool:
    return record.kind == "notice" and record.event == "error"


async def refused(way: Any, credentials: Any, code: str, **server_options: Any) -> None:
    """It ends, with the venue's code and text."""
    venue, variant, _, options = way
    async with exchange(venue, options=Options(**options), **server_options) as server:
        async with session(server, venue, credentials, variant=variant) as stream:
            records, error = await told(stream, lambda one: False)
            assert "connected" not in events(records)
            assert error is not None
            assert error.code == code
            assert len(error.message) > 5
            assert code in str(error)
            assert stream.state is State.CLOSED


# ---- MARK: Who ----


@every(way for way in WAYS if way[0] != "gzip-broker")
def test_an_unknown_key(way):
    credentials, more = made(way, key="unknown-key")
    run(refused(way, credentials, CODES["unknown key"][way[0]], **more))


@every(way for way in WAYS if way[0] == "gzip-broker")
def test_an_unknown_token_of_a_broker_without_codes(way):
    """It says so with an HTTP status, or not at all."""

    async def main():
        async with exchange(way[0]) as server:
            changes = {"timeout": 0.3}
            async with session(server, way[0], Key("unknown-key"), variant=way[1], changes=changes) as stream:
                records, error = await told(stream, is_error)
                assert "connected" not in events(records)
                assert error is not None or records[-1].message
                assert error is None or error.code in ("401", "403")

    run(main())


@every(filter(signs, WAYS))
def test_a_wrong_signature(way):
    credentials, more = made(way, is_wrong=True)
    run(refused(way, credentials, CODES["wrong signature"][way[0]], **more))


@every(way for way in WAYS if way[0].startswith("bitget"))
def test_a_wrong_passphrase(way):
    credentials, more = made(way, passphrase="another")
    run(refused(way, credentials, CODES["wrong passphrase"][way[0]], **more))


# ---- MARK: When ----


@pytest.mark.parametrize("skew", [-300.0, 300.0])
@every(filter(signs, WAYS))
def test_a_clock_that_is_wrong(way, skew):
    """Told with the venue's code; and set right where the venue tells the time."""
    venue, variant, _, options = way
    credentials, more = made(way)

    async def main():
        async with exchange(venue, options=Options(**options), faults=Faults(clock_skew=skew), **more) as server:
            async with session(server, venue, credentials, variant=variant) as stream:
                has_clock = stream._rules.clock is not None
                records, error = await told(stream, is_live if has_clock else is_error)
                assert error is None
                found = [one for one in records if is_error(one) and one.error_code == CODES["clock"][venue]]
                assert found
                assert len(found[0].message) > 5
                if has_clock:
                    assert events(records) == ["connected"]
                    assert abs(stream.stats()["clock_offset"] - skew * 1000) < 2000

    run(main())


@every(KEYED)
def test_a_key_that_expires(way):
    venue, variant, _, options = way
    credentials, more = made(way)

    async def main():
        async with exchange(venue, options=Options(**options), faults=Faults(key_life=0.3), **more) as server:
            async with session(server, venue, credentials, variant=variant) as stream:
                records, error = await told(stream, lambda one: one.event == "reconnected")
                assert error is None
                assert events(records) == ["connected", "disconnected", "gap", "reconnected"]
                (lost,) = [one for one in records if one.event == "disconnected"]
                assert "listen key" in lost.message

    run(main())


# ---- MARK: How much ----


@pytest.mark.parametrize("status", [429, 503])
@every(WAYS)
def test_a_connection_that_is_refused(way, status):
    """429 is waited for; 503 is tried again."""
    venue, variant, _, options = way
    credentials, more = made(way)

    async def main():
        faults = Faults(refuse=2, refuse_status=status)
        async with exchange(venue, options=Options(**options), faults=faults, **more) as server:
            async with session(server, venue, credentials, variant=variant) as stream:
                records, error = await told(stream, is_error if status == 429 else is_live)
                assert error is None
                found = [one for one in records if is_error(one)]
                assert [one.error_code for one in found] == [str(status)] * (1 if status == 429 else 2)
                assert all(one.message for one in found)
                if status == 429:
                    assert stream.state is State.WAITING
                    assert stream._lines[0].machine.next_deadline() - stream._loop.time() > 5

    run(main())


@pytest.mark.parametrize("status", [429, 503])
@every([*KEYED, *(way for way in WAYS if "listen_token" in way[1])])
def test_a_key_that_is_refused(way, status):
    venue, variant, _, options = way
    credentials, more = made(way)

    async def main():
        faults = Faults(refuse_rest=2, refuse_status=status)
        async with exchange(venue, options=Options(**options), faults=faults, **more) as server:
            async with session(server, venue, credentials, variant=variant) as stream:
                records, error = await told(stream, is_error if status == 429 else is_live)
                assert error is None
                found = [one for one in records if is_error(one)]
                assert [one.error_code for one in found] == [str(status)] * (1 if status == 429 else 2)
                assert stream.state is (State.WAITING if status == 429 else State.LIVE)

    run(main())


# ---- MARK: What ----


@every(WAYS)
def test_answers_that_are_cut_off(way):
    """Over the socket and over REST: told, tried again, and live as soon as they are whole."""
    venue, variant, _, options = way
    credentials, more = made(way)

    async def main():
        async with exchange(venue, options=Options(**options), faults=Faults(malformed_answers=1.0), **more) as server:
            changes = {"timeout": 0.4}
            async with session(server, venue, credentials, variant=variant, changes=changes) as stream:
                records, error = await told(stream, is_error)
                assert error is None
                assert "connected" not in events(records)
                assert records[-1].message
                server.faults = Faults()
                records, error = await told(stream, is_live)
                assert error is None
                assert events(records) == ["connected"]

    run(main())
