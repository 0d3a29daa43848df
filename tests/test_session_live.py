"""Sessions against the local exchange: every venue, every way to log in, and everything that goes wrong."""

# ruff: noqa: SIM117 - first the exchange, then what talks to it

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections import Counter
from typing import Any

import orjson
import pytest
from raw_server import SILENCE, RawServer
from sessions import (
    ALL,
    API_KEY,
    CREDENTIALS,
    PASSPHRASE,
    SECRET,
    WAYS,
    after,
    credentials_for,
    events,
    exchange,
    fast,
    is_data,
    pair,
    run,
    session,
    until,
)

import execwire
from execwire.auth import AuthError, Credentials
from execwire.delivery import Handler
from execwire.exchange import Every, Faults, Options
from execwire.sessions import FileRecorder, Key, Session, SessionError, State

# ---- MARK: Every venue, every way ----


@pytest.mark.parametrize(
    ("venue", "variant", "kind", "options"), WAYS, ids=["-".join((w[0], *w[1], w[2])) for w in WAYS]
)
def test_every_way_to_a_live_stream(venue, variant, kind, options):
    credentials: Any = Key(API_KEY) if kind == "key" else CREDENTIALS
    keys = None
    if kind in ("ed25519", "rsa"):
        credentials, known = pair(kind)
        keys = [known]

    async def main():
        more = {"keys": keys} if keys else {}
        async with exchange(venue, options=Options(**options), **more) as server:
            async with session(server, venue, credentials, variant=variant) as stream:
                records = await until(stream, after(data=50))
                assert stream.state is State.LIVE
                stats = stream.stats()
            assert events(records) == ["connected"]
            assert {one.venue for one in records} == {venue}
            assert stats["decode_errors"] == 0
            assert not [one for one in records if one.kind == "notice" and one.code in ("unknown_event", "error")]
            if "microseconds" in variant:
                assert any(len(str(orjson.loads(one.payload)["event"]["E"])) == 16 for one in records if is_data(one))

    run(main())


def payload_of(line: bytes) -> bytes:
    """The frame in a line of a capture."""
    payload = line.partition(b" ")[2]
    is_frame = payload.startswith(b'{"execwire":"frame"')
    return base64.b64decode(orjson.loads(payload)["b64"]) if is_frame else payload


@pytest.mark.parametrize(
    ("venue", "more"),
    [("binance-spot", {}), ("binance-futures", {}), ("bitget", {}), ("bitget-v1", {}), ("openapi-broker", {}),
     ("gzip-broker", {})],
)  # fmt: skip
def test_nothing_is_lost_or_doubled(venue, more):
    """What the exchange logs as sent is what comes out, byte by byte and in order."""

    class Keeps:
        def __init__(self):
            self.payloads = []

        def write(self, lines):
            self.payloads += map(payload_of, lines.splitlines())

    async def main():
        async with exchange(venue, rate=2000.0, keep_logs=True) as server:
            recorder = Keeps()
            credentials = Key(API_KEY) if venue == "gzip-broker" else CREDENTIALS
            async with session(server, venue, credentials, recorder=recorder) as stream:
                await until(stream, lambda one, seen: len(seen) >= 3000)
                await asyncio.sleep(0.05)
            (connection,) = server.connections
            sent = connection.log[:1000]
            assert len(sent) == 1000
            known = set(sent)
            got = [one for one in recorder.payloads if one in known]
            counted = Counter(sent)
            assert [one for one in got if counted[one] == 1][:500] == [one for one in sent if counted[one] == 1][:500]

    run(main())


# ---- MARK: What the venue refuses (more of it in test_session_faults.py) ----


def test_an_hmac_key_cannot_log_on():
    async def main():
        async with exchange("binance-spot") as server:
            async with session(server, "binance-spot", variant="logon") as stream:
                with pytest.raises(SessionError) as caught:
                    await stream.run()
                assert caught.value.code == "-4056"

    run(main())


def test_listen_keys_of_spot_are_gone():
    async def main():
        async with exchange("binance-spot") as server:
            async with session(server, "binance-spot", Key(API_KEY), variant="listen_key") as stream:
                with pytest.raises(SessionError, match=r"410|not supported"):
                    await stream.run()

    run(main())


def test_too_many_messages_to_bitget_are_not_sent():
    async def main():
        async with exchange("bitget", options=Options(bitget_messages=10)) as server:
            channels = [f"SPOT/orders/{'X' * 60}{n:04d}" for n in range(900)]
            async with session(server, "bitget", channels=channels) as stream:
                records = await until(stream, lambda one, seen: one.event == "connected")
                assert sum(one.event == "subscribe" for one in records) == 900
                assert not [one for one in records if one.kind == "notice" and one.code == "error"]

    run(main())


def test_a_weight_limit_that_is_exceeded_is_waited_for():
    async def main():
        async with exchange("binance-spot", options=Options(weight=1)) as server:
            async with session(server, "binance-spot") as stream:
                records = await until(stream, lambda one, seen: one.event == "error" and seen)
                assert records[-1].error_code == "-1003"
                assert stream.state is State.WAITING

    run(main())


# ---- MARK: What breaks ----

BREAKS = [
    ("close", {"close_after": 40}, "disconnected"),
    ("cut off", {"close_after": 40, "close_code": 1006}, "disconnected"),
    ("closed in time", {"close_after_seconds": 0.3}, "disconnected"),
    ("terminated", {"terminate_after": 40}, "gap"),
]


@pytest.mark.parametrize("venue", ALL)
@pytest.mark.parametrize(("faults", "sign"), [one[1:] for one in BREAKS], ids=[one[0] for one in BREAKS])
def test_the_session_comes_back_by_itself(venue, faults, sign):
    async def main():
        async with exchange(venue, faults=Faults(**faults)) as server:
            async with session(server, venue, credentials_for(venue)) as stream:
                # Spot subscribes again on the same connection, where the exchange terminates only once.
                times = 1 if sign == "gap" else 2
                records = await until(stream, after(reconnected=times, data=101))
                stats = stream.stats()
        found = events(records)
        assert found[0] == "connected"
        # Every loss shows, then the gap, then that it is over.
        rest = [one for one in found[1:] if one != "disconnected"]
        assert rest[: 2 * times] == ["gap", "reconnected"] * times
        if sign == "disconnected":
            assert found[1:4] == ["disconnected", "gap", "reconnected"]
        assert stats["gaps"] >= times
        gaps = [one for one in records if one.event == "gap"]
        assert all(one.ts_transact and abs(one.ts_transact - one.ts_recv) < 10**10 for one in gaps)
        # In its place: what came before the loss stands before it.
        times = [one.ts_recv for one in records]
        assert times == sorted(times)

    run(main())


@pytest.mark.parametrize("venue", ["binance-spot", "bitget", "binance-futures", "openapi-broker"])
def test_a_shutdown_is_survived(venue):
    async def main():
        faults = Faults(shutdown_after=40, shutdown_seconds=2.5)
        async with exchange(venue, faults=faults, keep_logs=True) as server, session(server, venue) as stream:
            records = await until(stream, after(reconnected=1, data=401))
            stats = stream.stats()
        if any(one.kind == "notice" and one.code == "server_shutdown" for one in records):
            assert events(records)[:2] == ["connected", "reconnected"]
            assert stats["handovers"] >= 1
            assert stats["gaps"] == 0
        else:
            assert events(records)[:4] == ["connected", "disconnected", "gap", "reconnected"]

    run(main())


HANDOVERS = {"lifetime": 1.0, "lead": 0.5}


def orders_of(server):
    """Every order event that the exchange sent over any connection."""
    sent = {line for connection in server.connections for line in connection.log if b"executionReport" in line}
    return {orjson.dumps(orjson.loads(line)["event"]) for line in sent}


async def handed_over(server, stream, seen, times=2):
    """After so many handovers no more is sent; what was sent arrives, once."""
    while stream.stats()["handovers"] < times:
        await asyncio.sleep(0.05)
    for protocol in server.protocols.values():
        for flow in protocol.flows.values():
            await flow.stop()
    sent, deadline = orders_of(server), time.monotonic() + 20
    while sent - set(seen) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert sent - set(seen) == set()
    assert max(Counter(seen).values()) == 1
    assert stream.stats()["gaps"] == 0


class Orders(Handler):
    """Keeps the bytes of order events."""

    def __init__(self):
        self.seen = []

    def on_record(self, record):
        if record.kind == "order":
            begin, end = record.span
            self.seen.append(orjson.dumps(orjson.loads(record.payload[begin:end])))


def test_a_handover_loses_and_doubles_nothing():
    async def main():
        async with exchange("binance-spot", rate=500.0, keep_logs=True) as server:
            handler = Orders()
            async with session(server, "binance-spot", handler=handler, changes=HANDOVERS) as stream:
                await handed_over(server, stream, handler.seen)
                assert stream.stats()["duplicates"] > 0

    run(main())


@pytest.mark.parametrize("profile", ["hot", "fleet"])
@pytest.mark.parametrize("secure", [False, True], ids=["TCP", "TLS"])
def test_a_handover_while_the_user_is_slow(profile, secure, tls):
    """Nothing is read from the old connection while too many records wait; it stays until that is over."""

    async def main():
        more = {"tls": tls.server} if secure else {}
        async with exchange("binance-spot", rate=500.0, keep_logs=True, **more) as server:
            orders = Orders()
            more = {"url": server.url("binance-spot"), "tls": tls.client} if secure else {}
            async with session(server, "binance-spot", limit=100, profile=profile, changes=HANDOVERS, **more) as stream:
                await until(stream, after(connected=1))
                await asyncio.sleep(2.5)
                waiting = stream.waiting

                async def read():
                    async for record in stream:
                        orders.on_record(record)

                reading = asyncio.create_task(read())
                await handed_over(server, stream, orders.seen)
                reading.cancel()
                assert 100 < waiting < 2_000

    run(main())


def test_a_handover_from_a_connection_that_answers_no_ping():
    """It is left a while later, and was silent before: what the next one came too late for may be lost."""

    async def main():
        async with exchange("binance-spot", faults=Faults(mute_after=30)) as server:
            async with session(server, "binance-spot", changes={**HANDOVERS, "timeout": 0.5}) as stream:
                records = await until(stream, after(reconnected=2))
                assert events(records) == ["connected", "reconnected", "disconnected", "gap", "reconnected"]
                assert server.connections[0].counts["pings received"] == 1
                (gap,) = [one for one in records if one.event == "gap"]
                moved = next(one for one in records if one.event == "reconnected")
                last = max(one.ts_recv for one in records[: records.index(moved)] if is_data(one))
                assert last <= gap.ts_transact < moved.ts_recv

    run(main())


@pytest.mark.parametrize("venue", ALL)
def test_a_connection_that_is_mute_is_left(venue):
    async def main():
        async with exchange(venue, faults=Faults(mute_after=30)) as server:
            async with session(server, venue, credentials_for(venue), changes={"silence": 0.6}) as stream:
                records = await until(stream, after(reconnected=1))
                assert events(records) == ["connected", "disconnected", "gap", "reconnected"]
                (lost,) = [one for one in records if one.event == "disconnected"]
                assert lost.message == "nothing received for 0.6 s"
                # What was lost is lost since the last frame, not since somebody noticed.
                (gap,) = [one for one in records if one.event == "gap"]
                last = max(one.ts_recv for one in records[: records.index(lost)] if is_data(one))
                assert last <= gap.ts_transact <= lost.ts_recv - 5 * 10**8
                assert stream.stats()["silences"] == 1

    run(main())


@pytest.mark.parametrize("venue", ["bitget", "gzip-broker"])
def test_a_heartbeat_without_an_answer(venue):
    async def main():
        beat = {"every": 0.5, "within": 0.5}
        async with exchange(venue, faults=Faults(mute_after=30)) as server:
            changes = {"heartbeat": beat, "silence": 60}
            async with session(server, venue, credentials_for(venue), changes=changes) as stream:
                records = await until(stream, lambda one, seen: one.event == "disconnected")
                assert records[-1].message == "no answer to a heartbeat"

    run(main())


@pytest.mark.parametrize("how", ["event_silence", "expect_event"])
def test_a_stream_without_events_is_no_stream(how):
    """The socket is open and answers pings; events do not come."""

    async def main():
        async with exchange("binance-spot", faults=Faults(silent_after=30), options=Options(ws_api_ping=0.1)) as server:
            more = {"event_silence": 0.8} if how == "event_silence" else {}
            async with session(server, "binance-spot", **more) as stream:
                records = []
                async for one in stream:
                    records.append(one)
                    if how == "expect_event" and sum(map(is_data, records)) >= 30 and len(events(records)) == 1:
                        stream.expect_event(0.5)
                    if "reconnected" in events(records):
                        break
                assert events(records) == ["connected", "disconnected", "gap", "reconnected"]

    run(main())


def test_malformed_events_show_and_the_stream_goes_on():
    async def main():
        async with exchange("binance-spot", faults=Faults(malformed=Every(5))) as server:
            async with session(server, "binance-spot") as stream:
                records = await until(stream, after(data=101))
                assert events(records) == ["connected"]
                counted = stream.stats()["decode_errors"]  # some of them wait to be read
                missing = counted - len(events(records, "undecodable"))
                assert counted > 5
                assert missing >= 0
                if missing:
                    records += await until(stream, lambda one, seen: len(events(seen, "undecodable")) == missing)
                assert all("at byte" in one.message for one in records if one.event == "undecodable")

    run(main())


@pytest.mark.parametrize("status", [429, 503, 401])
def test_handshakes_that_are_refused(status):
    async def main():
        changes = {"statuses": {"429": "retry", "401": "retry"}}
        async with exchange("binance-spot", faults=Faults(refuse=3, refuse_status=status)) as server:
            async with session(server, "binance-spot", changes=changes) as stream:
                records = await until(stream, lambda one, seen: one.event == "connected")
                errors = [one for one in records if one.event == "error"]
                assert len(errors) == 3
                assert all(one.error_code == str(status) for one in errors)

    run(main())


@pytest.mark.parametrize("venue", ["binance-futures", "openapi-broker"])
def test_keys_that_expire_while_nobody_is_connected(venue):
    """A connection by such a key would be open and silent."""

    async def main():
        async with exchange(venue, faults=Faults(close_after=30, key_life=0.5)) as server:
            changes = {"backoff": {"first": 1.2, "longest": 1.2}}
            async with session(server, venue, changes=changes) as stream:
                assert len(events(await until(stream, after(disconnected=3)), "reconnected")) == 2

    run(main())


@pytest.mark.parametrize("venue", ["binance-futures", "openapi-broker"])
def test_keys_that_expire(venue):
    async def main():
        async with exchange(venue, faults=Faults(key_life=0.7)) as server, session(server, venue) as stream:
            records = await until(stream, after(reconnected=1))
            assert events(records)[:4] == ["connected", "disconnected", "gap", "reconnected"]
            assert sum(one == ("POST", "/fapi/v1/listenKey" if venue == "binance-futures" else
                               "/openapi/v1/userDataStream") for one in server.requests) >= 2  # fmt: skip

    run(main())


def test_keys_that_are_renewed_do_not_expire():
    async def main():
        async with exchange("binance-futures", faults=Faults(key_life=5.0)) as server:
            changes = {"key": {"every": 0.5}}
            async with session(server, "binance-futures", changes=changes, delete_keys=True) as stream:
                deadline = time.monotonic() + 7
                records = await until(stream, lambda one, seen: time.monotonic() > deadline)
                assert events(records) == ["connected"]
                assert sum(method == "PUT" for method, _ in server.requests) >= 5
            assert ("DELETE", "/fapi/v1/listenKey") in server.requests

    run(main())


@pytest.mark.parametrize("venue", ["binance-futures", "openapi-broker"])
def test_a_session_that_ends_takes_no_key_from_another(venue):
    """All sessions of an account get the same listen key."""

    async def main():
        async with exchange(venue) as server, session(server, venue) as stays:
            await until(stays, after(connected=1, data=5))
            async with session(server, venue) as goes:
                await until(goes, after(connected=1, data=5))
            records = await until(stays, after(data=200))
            assert events(records) == []
            assert not any(method == "DELETE" for method, _ in server.requests)

    run(main())


def test_tokens_that_expire_are_replaced_before():
    async def main():
        async with exchange("binance-spot", options=Options(listen_token_life=6.0)) as server:
            changes = {"lead": 3.0}
            async with session(server, "binance-spot", variant="listen_token", changes=changes) as stream:
                records = await until(stream, after(reconnected=1))
                assert events(records) == ["connected", "reconnected"]
                assert stream.stats()["gaps"] == 0

    run(main())


@pytest.mark.parametrize("venue", ["binance-spot", "binance-futures", "bitget", "openapi-broker"])
def test_connections_live_a_day(venue):
    """The exchange cuts them off after `connection_life`; the session has moved on by then."""

    async def main():
        async with exchange(venue, options=Options(connection_life=7.0)) as server:
            async with session(server, venue, changes={"lifetime": 7.0, "lead": 3.5}) as stream:
                records = await until(stream, after(reconnected=1))
                assert events(records) == ["connected", "reconnected"]
                assert len(server.connections) == 2

    run(main())


def test_nobody_there_is_told_and_tried_again():
    async def main():
        async with exchange("binance-spot") as server:
            origin = server.origin
        async with Session(fast("binance-spot"), CREDENTIALS, url=f"ws://{origin}") as stream:
            records = await until(stream, lambda one, seen: len(seen) >= 3)
            assert {one.event for one in records} == {"error"}
            assert all("cannot connect" in one.message for one in records)

    run(main())


# ---- MARK: Ends ----


def test_close_is_quiet_and_can_be_repeated():
    async def main():
        async with exchange("binance-futures") as server:
            stream = session(server, "binance-futures")
            await stream.start()
            await until(stream, lambda one, seen: is_data(one))
            await stream.close()
            await stream.close()
            assert stream.state is State.CLOSED
            await asyncio.sleep(0.1)
            assert server.open_connections() == []
            rest = [one async for one in stream]  # what was received still can be read
            assert not [one for one in rest if one.event == "error"]
            with pytest.raises(RuntimeError, match="closed"):
                await stream.start()

    run(main())


def test_a_session_that_never_began():
    async def main():
        stream = Session("binance-spot", CREDENTIALS)
        assert stream.state is State.CLOSED
        await stream.close()
        with pytest.raises(RuntimeError, match="closed"):
            await stream.run()

    run(main())


def test_close_while_connecting():
    async def main():
        async with RawServer(None, status=SILENCE) as server:
            stream = Session("binance-spot", CREDENTIALS, url=server.url)
            await stream.start()
            await asyncio.sleep(0.1)
            assert stream.state is State.CONNECTING
            await stream.close()
            assert stream.state is State.CLOSED

    run(main())


def test_a_deadline_that_has_come_before_its_timer_is_set():
    """Loops answer a call in less than half a millisecond with something that is no timer."""

    async def main():
        async with RawServer(None, status=SILENCE) as server:
            changes = {"timeout": 0.05, "backoff": {"first": 0.0001, "longest": 0.0001}}
            async with Session(fast("binance-spot", **changes), CREDENTIALS, url=server.url) as stream:
                records = await until(stream, lambda one, seen: len(seen) == 5)
                assert {one.event for one in records} == {"error"}

    run(main())


def test_a_handshake_that_is_never_answered():
    async def main():
        async with RawServer(None, status=SILENCE) as server:
            async with Session(fast("binance-spot", timeout=0.3), CREDENTIALS, url=server.url) as stream:
                records = await until(stream, lambda one, seen: len(seen) == 2)
                assert {one.event for one in records} == {"error"}
                assert "no answer within 0.3 s" in records[0].message

    run(main())


def test_what_is_missing_is_said():
    with pytest.raises(AuthError, match="BINANCE_API_KEY"):
        Session("binance-spot")
    with pytest.raises(execwire.VenueError, match=r"session\.url"):
        Session("gzip-broker", Key("k"))
    with pytest.raises(execwire.VenueError, match="no 'nonsense'"):
        Session("binance-spot", CREDENTIALS, variant="nonsense")
    with pytest.raises(ValueError, match="not of the form"):
        Session("bitget", CREDENTIALS, channels=["orders"])
    with pytest.raises(ValueError, match="no channels"):
        Session("binance-spot", CREDENTIALS, channels=["SPOT/orders"])


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "http://127.0.0.1:9000", "ws:///path", "//host", "hidden"])
def test_urls_that_cannot_be_used(url):
    with pytest.raises(ValueError, match=r"url must begin with wss?://") as caught:
        Session("binance-spot", CREDENTIALS, url=url)
    assert "hidden" not in str(caught.value)
    with pytest.raises(ValueError, match=r"rest_url must begin with https?://"):
        Session("binance-futures", CREDENTIALS, rest_url=url.replace("http:", "ws:"))


def test_what_is_no_handler_and_no_credentials():
    with pytest.raises(TypeError, match="handler"):
        Session("binance-spot", CREDENTIALS, handler=5)
    with pytest.raises(TypeError, match="credentials") as caught:
        Session("binance-spot", "hidden")
    assert "hidden" not in str(caught.value)


# ---- MARK: Secrets ----


def inside(found: Any) -> str:
    """What a debugger would show of an object's attributes; signatures are kept as plain texts, to be scrubbed."""
    return repr([getattr(found, name, None) for name in type(found).__slots__ if name != "_shown"])


def test_a_listen_key_that_the_user_asks_for_is_not_recorded(tmp_path):
    path = tmp_path / "capture.txt"

    async def main():
        async with exchange("binance-spot", options=Options(spot_listen_keys=1)) as server:
            async with session(server, "binance-spot", record=path) as stream:
                await until(stream, after(connected=1))
                key = (await stream.request("start"))["result"]["listenKey"]
                await stream.request("ping", {"listenKey": key})
                return key

    key = run(main())
    assert len(key) > 20
    assert key.encode() not in path.read_bytes()
    assert b'"listenKey":"' + b"*" * len(key) in path.read_bytes()


@pytest.mark.parametrize("venue", ALL)
def test_no_secret_shows_anywhere(venue, tmp_path, caplog):
    """Logs, captures, reprs, exceptions, notices: of a session that lives, and of one that is refused."""
    shown: list[str] = []
    path = tmp_path / "capture.txt"

    async def main():
        faults = Faults(close_after=30, key_life=1.5)
        async with exchange(venue, faults=faults) as server:
            with FileRecorder(path) as recorder:
                async with session(server, venue, credentials_for(venue), recorder=recorder) as stream:
                    shown.extend(map(repr, await until(stream, after(reconnected=1))))
                    shown.append(repr(stream) + repr(stream.stats()) + inside(stream))
                    for line in stream._lines:
                        shown.append(inside(line.machine))
                        secrets.extend(line.machine.secrets())
            wrong = Key("unknown-" + API_KEY) if venue == "gzip-broker" else Credentials(API_KEY, "x" + SECRET, "p")
            async with session(server, venue, wrong, changes={"timeout": 0.3}) as stream:
                try:
                    async with asyncio.timeout(1.0):
                        shown.extend(map(repr, await until(stream, lambda one, seen: len(seen) > 20)))
                except (SessionError, TimeoutError) as error:
                    shown.append(repr(error) + str(error) + repr(error.__context__) + repr(error.__cause__))

    secrets = [SECRET, PASSPHRASE, API_KEY]
    with caplog.at_level(1):
        run(main())
    shown.append("\n".join(one.getMessage() for one in caplog.records if not one.name.startswith("aiohttp")))
    capture = path.read_bytes()
    assert len(capture) > 1000
    for one in set(secrets):
        assert one not in "\n".join(shown)
        assert one.encode() not in capture
        assert base64.b64encode(one.encode()) not in capture


def test_credentials_from_the_environment(monkeypatch):
    monkeypatch.setenv("BITGET_API_KEY", API_KEY)
    monkeypatch.setenv("BITGET_SECRET", SECRET)
    monkeypatch.setenv("BITGET_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("GZIP_BROKER_TOKEN", API_KEY)

    async def main():
        async with exchange() as server:
            for venue in ("bitget", "gzip-broker"):
                async with session(server, venue, None) as stream:
                    await until(stream, lambda one, seen: one.event == "connected")

    run(main())


def test_a_signer_of_ones_own():
    async def main():
        signed = []

        def signer(payload: bytes) -> bytes:
            import hashlib
            import hmac

            signed.append(payload)
            return hmac.digest(SECRET.encode(), payload, hashlib.sha256)

        async with exchange("binance-spot") as server:
            credentials = Credentials(API_KEY, signer=signer, algorithm="hmac")
            async with session(server, "binance-spot", credentials) as stream:
                await until(stream, lambda one, seen: one.event == "connected")
        assert signed[0].startswith(b"apiKey=" + API_KEY.encode() + b"&timestamp=")

    run(main())


def test_captures_read_back_as_what_was_received(tmp_path):
    async def main():
        async with exchange("binance-spot") as server:
            with FileRecorder(tmp_path / "capture.txt") as recorder:
                async with session(server, "binance-spot", recorder=recorder) as stream:
                    records = await until(stream, after(data=51))
            return records

    records = run(main())
    from execwire.captures import Capture

    decoder = execwire.Decoder("binance-spot")
    with Capture(str(tmp_path / "capture.txt"), "hftbacktest") as capture:
        read = [one.to_dict() for message in capture for one in decoder.decode(message.payload, message.ts_recv)]
    data = [one.to_dict() for one in records if is_data(one)]
    assert [one for one in read if one["kind"] != "notice"][: len(data)] == data


def test_logs_are_quiet(caplog):
    async def main():
        async with exchange("binance-spot") as server, session(server, "binance-spot") as stream:
            await until(stream, lambda one, seen: is_data(one))

    with caplog.at_level(logging.INFO):
        run(main())
    assert [one for one in caplog.records if one.name.startswith(("execwire", "picows"))] == []
