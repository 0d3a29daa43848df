"""Sessions against the local exchange: whose records are whose, requests, and what handlers may do."""

# ruff: noqa: SIM117 - first the exchange, then what talks to it

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import pytest
from raw_server import CLOSE, PING, PONG, SUBSCRIBED, RawServer, frame, order
from sessions import (
    CREDENTIALS,
    PASSPHRASE,
    SECRET,
    after,
    events,
    exchange,
    fast,
    is_data,
    pair,
    run,
    session,
    until,
)

from execwire.auth import Credentials
from execwire.delivery import Handler
from execwire.exchange import ApiKey, Every, Faults, Options
from execwire.sessions import Account, Gap, Key, Session, SessionError, State

# ---- MARK: Accounts ----


def many(count: int) -> tuple[list[ApiKey], list[Credentials]]:
    credentials = [Credentials(f"api-key-{n:05d}", SECRET) for n in range(count)]
    return [ApiKey(one.api_key, one.verifier()) for one in credentials], credentials


class Mine(Handler):
    def __init__(self):
        self.records = []

    def on_record(self, record):
        self.records.append(record)


def test_accounts_have_their_own_handlers():
    async def main():
        keys, credentials = many(5)
        async with exchange("binance-spot", keys=keys) as server:
            handlers = [Mine() for _ in credentials]
            accounts = [Account(one, handler) for one, handler in zip(credentials, handlers, strict=True)]
            async with session(server, "binance-spot", None, accounts=accounts) as stream:
                while not all(sum(map(is_data, one.records)) > 20 for one in handlers):
                    await asyncio.sleep(0.05)
                assert len(server.connections) == 1
                assert stream.stats()["subscriptions"] == 5
                for account, handler in zip(accounts, handlers, strict=True):
                    data = [one for one in handler.records if is_data(one)]
                    assert {one.subscription_id for one in data} == {account.subscription_id}
                    assert stream.account_of(account.subscription_id) is account
                    assert "connected" in events(handler.records)

    run(main())


def test_accounts_come_and_go_while_the_stream_lives():
    async def main():
        keys, credentials = many(3)
        async with exchange("binance-spot", keys=keys) as server:
            async with session(server, "binance-spot", credentials[0]) as stream:
                await until(stream, lambda one, seen: one.event == "connected")
                account = Account(credentials[1], Mine(), "second")
                stream.subscribe(account)
                while sum(map(is_data, account.handler.records)) < 5:
                    await asyncio.sleep(0.02)
                listed = await stream.request("subscriptions")
                assert listed["result"] == [{"subscriptionId": 0}, {"subscriptionId": 1}]
                stream.unsubscribe(account)
                records = await until(
                    stream, lambda one, seen: one.kind == "notice" and one.code == "stream_terminated"
                )
                assert records[-1].subscription_id == 1
                listed = await stream.request("subscriptions")
                assert listed["result"] == [{"subscriptionId": 0}]
                assert stream.stats()["gaps"] == 0

    run(main())


def test_more_accounts_than_a_connection_takes():
    async def main():
        keys, credentials = many(7)
        async with exchange("binance-spot", keys=keys, options=Options(subscriptions=3)) as server:
            accounts = [Account(one) for one in credentials]
            async with session(
                server, "binance-spot", None, accounts=accounts[:5], changes={"subscriptions": 3}
            ) as stream:
                while stream.stats()["subscriptions"] < 5:
                    await asyncio.sleep(0.02)
                assert len(server.open_connections()) == 2
                stream.subscribe(accounts[5])
                stream.subscribe(accounts[6])
                while stream.stats()["subscriptions"] < 7:
                    await asyncio.sleep(0.02)
                assert len(server.open_connections()) == 3

    run(main())


def test_ids_are_used_up_and_a_new_connection_takes_over():
    async def main():
        keys, credentials = many(2)
        options = Options(lifetime_subscriptions=5)
        async with exchange("binance-spot", keys=keys, options=options) as server:
            changes = {"lifetime_subscriptions": 5}
            async with session(server, "binance-spot", credentials[0], changes=changes) as stream:
                await until(stream, lambda one, seen: one.event == "connected")
                for _ in range(6):
                    account = Account(credentials[1], Mine())
                    stream.subscribe(account)
                    while not any(map(is_data, account.handler.records)):
                        await asyncio.sleep(0.02)
                    stream.unsubscribe(account)
                    await asyncio.sleep(0.05)
                assert len(server.connections) >= 2
                assert stream.stats()["gaps"] == 0

    run(main())


def test_several_accounts_where_a_connection_has_one():
    async def main():
        keys, credentials = many(3)
        async with exchange("binance-futures", keys=keys) as server:
            accounts = [Account(one, Mine()) for one in credentials]
            seen = []
            async with session(server, "binance-futures", None, accounts=accounts, handler=seen.append) as stream:
                while not all(any(map(is_data, one.handler.records)) for one in accounts):
                    await asyncio.sleep(0.02)
                assert len(server.open_connections()) == 3
                assert not any(map(is_data, seen))
                assert events(seen) == ["connected"] * 3
                for left, account in ((2, accounts[0]), (1, accounts[2])):
                    stream.unsubscribe(account)
                    while len(server.open_connections()) > left:
                        await asyncio.sleep(0.02)
                assert stream.state is State.LIVE
                stream.subscribe(accounts[0])
                while events(accounts[0].handler.records) != ["connected"] * 2:
                    await asyncio.sleep(0.02)

    run(main())


def test_what_happens_to_an_account_is_told_to_its_handler():
    async def main():
        keys, credentials = many(2)
        async with exchange("binance-spot", keys=keys) as server:
            handlers, seen = [Mine(), Mine(), Mine()], []
            accounts = [Account(one, handler) for one, handler in zip(credentials, handlers, strict=False)]
            async with session(server, "binance-spot", None, accounts=accounts, handler=seen.append) as stream:
                while stream.stats()["subscriptions"] < 2:
                    await asyncio.sleep(0.02)
                (connection,) = server.open_connections()
                connection.on_terminate()
                stream.subscribe(Account(Credentials("nobody", SECRET), handlers[2]))
                while not events(handlers[2].records, "error"):
                    await asyncio.sleep(0.02)
                for handler in handlers[:2]:
                    while events(handler.records) != ["connected", "disconnected", "gap", "reconnected"]:
                        await asyncio.sleep(0.02)
                    assert not events(handler.records, "error")
                assert events(seen) == ["connected"]

    run(main())


def test_one_account_that_is_refused_ends_the_others():
    async def main():
        keys, credentials = many(2)
        async with exchange("binance-futures", keys=keys[:1]) as server:
            accounts = [Account(one) for one in credentials]
            async with session(server, "binance-futures", None, accounts=accounts) as stream:
                with pytest.raises(SessionError) as caught:
                    await stream.run()
                assert caught.value.code == "-2015"
                while server.open_connections():
                    await asyncio.sleep(0.02)

    run(main(), 10)


def test_of_several_connections_the_state_is_that_of_the_one_that_waits():
    async def main():
        keys, credentials = many(2)
        async with exchange("binance-futures", keys=keys) as server:
            accounts = [Account(one) for one in credentials]
            async with session(server, "binance-futures", None, accounts=accounts) as stream:
                await until(stream, after(connected=2))
                assert stream.state is State.LIVE
                server.faults = Faults(refuse=9, refuse_status=429)
                server.open_connections()[0].close(1001)
                await until(stream, after(disconnected=1, error=1))
                assert stream.state is State.WAITING
                assert len(server.open_connections()) == 1

    run(main(), 10)


def test_without_a_connection_the_same_ones_are_told(tmp_path):
    """The account's handler, the session's, the counts and the recorder."""

    async def main():
        mine, seen = Mine(), []
        async with RawServer(None) as server:
            nobody = server.url.removeprefix("ws://")
        async with Session(
            fast("binance-futures"), accounts=[Account(Key("api-key-00000"), mine)], handler=seen.append,
            url=f"ws://{nobody}", rest_url=f"http://{nobody}", record=tmp_path / "capture.txt",
        ) as stream:  # fmt: skip
            while len(seen) < 2:
                await asyncio.sleep(0.02)
            assert set(events(seen, "error")) == {"error"}
            assert len(mine.records) == len(seen)
            assert stream.stats()["notices"] == stream.stats()["records"] == 2 * len(seen)
        assert (tmp_path / "capture.txt").read_bytes().count(b'"execwire":"error"') >= 2

    run(main(), 10)


def test_channels_are_for_all_accounts():
    async def main():
        keys, credentials = many(2)
        keys = [ApiKey(one.name, one.verifier, PASSPHRASE) for one in keys]
        accounts = [Account(Credentials(one.api_key, SECRET, PASSPHRASE), Mine()) for one in credentials]
        async with exchange("bitget", keys=keys) as server:
            async with session(server, "bitget", None, accounts=accounts, channels=["SPOT/orders"]) as stream:
                while not all(any(map(is_data, one.handler.records)) for one in accounts):
                    await asyncio.sleep(0.02)
                stream.subscribe("SPOT/account")
                while not all(any(r.kind == "balance" for r in one.handler.records) for one in accounts):
                    await asyncio.sleep(0.02)
                assert len(server.connections) == 2

    run(main())


def test_channels_come_and_go():
    async def main():
        async with exchange("bitget") as server, session(server, "bitget", channels=["SPOT/orders"]) as stream:
            await until(stream, lambda one, seen: is_data(one))
            stream.subscribe("SPOT/account")
            records = await until(stream, lambda one, seen: one.kind == "balance")
            assert {one.kind for one in records if is_data(one)} <= {"order", "balance"}
            stream.unsubscribe("SPOT/orders")
            await until(stream, lambda one, seen: one.kind == "notice" and one.code == "unsubscribed")
            records = await until(stream, lambda one, seen: len(seen) >= 20)
            assert {one.kind for one in records} == {"balance"}

    run(main())


# ---- MARK: Requests ----


def test_requests_of_the_websocket_api():
    async def main():
        credentials, known = pair("ed25519")
        async with exchange("binance-spot", keys=[known]) as server:
            async with session(server, "binance-spot", credentials, variant="logon") as stream:
                with pytest.raises(ConnectionError):
                    await stream.request("status")
                await until(stream, lambda one, seen: one.event == "connected")
                status = await stream.request("status")
                assert status["result"]["userDataStream"] is True
                assert (await stream.request("logout"))["status"] == 200
                assert (await stream.request("subscriptions"))["result"] == []
                with pytest.raises(SessionError) as caught:
                    await stream.request("unsubscribe_all")
                assert caught.value.code == "-2036"
                with pytest.raises(KeyError):
                    await stream.request("nonsense")

    run(main())


def test_an_answer_that_nobody_waits_for_any_more():
    async def main():
        async with exchange("binance-spot") as server:
            async with session(server, "binance-spot") as stream:
                await until(stream, after(connected=1))
                asked = asyncio.ensure_future(stream.request("status"))
                await asyncio.sleep(0)
                asked.cancel()
                assert (await stream.request("subscriptions"))["status"] == 200  # which comes behind it
                assert stream.state is State.LIVE

    run(main(), 10)


@pytest.mark.parametrize("still", [0, 1])
def test_the_old_listen_key_requests(still):
    async def main():
        async with exchange("binance-spot", options=Options(spot_listen_keys=still)) as server:
            async with session(server, "binance-spot") as stream:
                await until(stream, lambda one, seen: one.event == "connected")
                if not still:
                    with pytest.raises(SessionError):
                        await stream.request("start")
                    return
                key = (await stream.request("start"))["result"]["listenKey"]
                assert (await stream.request("ping", {"listenKey": key}))["status"] == 200
                assert (await stream.request("stop", {"listenKey": key}))["status"] == 200

    run(main())


# ---- MARK: Handlers ----


def test_a_handler_that_raises_is_counted_and_gets_everything():
    async def main():
        class Raises(Mine):
            def on_record(self, record):
                super().on_record(record)
                raise ValueError("with a secret")

        async with exchange("binance-spot") as server:
            handler = Raises()
            async with session(server, "binance-spot", handler=handler) as stream:
                while len(handler.records) < 100:
                    await asyncio.sleep(0.02)
                stats = stream.stats()
                assert stats["handler_errors"] == stats["records"] == len(handler.records)
                assert stream.state is State.LIVE

    run(main())


def test_a_handler_that_blocks_for_a_second_loses_nothing():
    async def main():
        class Blocks(Mine):
            blocked = 0

            def on_record(self, record):
                super().on_record(record)
                if sum(map(is_data, self.records)) == 30 and not self.blocked:
                    self.blocked += 1
                    time.sleep(1.0)

        options = Options(ws_api_ping=0.2, ws_api_pong=5.0)
        async with exchange("binance-spot", keep_logs=True, options=options, rate=500.0) as server:
            handler = Blocks()
            async with session(server, "binance-spot", handler=handler, changes={"silence": 0.7}) as stream:
                while sum(map(is_data, handler.records)) < 300:
                    await asyncio.sleep(0.02)
                stats = stream.stats()
                assert stats["loop_delay"] > 0.5
                assert stats["gaps"] == stats["silences"] == 0
                assert len(server.connections) == 1
            payloads = [one.payload for one in handler.records if is_data(one)]
            assert list(dict.fromkeys(payloads)) == list(dict.fromkeys(server.connections[0].log))[: len(set(payloads))]

    run(main())


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt])
def test_a_handler_that_cancels_ends_the_session(error):
    async def main():
        class Cancels(Mine):
            def on_record(self, record):
                super().on_record(record)
                if sum(map(is_data, self.records)) == 10:
                    raise error

        async with exchange("binance-spot") as server:
            handler = Cancels()
            stream = session(server, "binance-spot", handler=handler)
            with pytest.raises(error):
                await stream.run()
            await stream.close()
            assert sum(map(is_data, handler.records)) == 10
            assert stream.stats()["handler_errors"] == 1
            assert stream.state is State.CLOSED

    run(main())


def bodies_of(connection: Any, count: int) -> list[bytes]:
    """The first event messages of a connection, once each; an exchange may repeat one."""
    return list(dict.fromkeys(connection.log))[:count]


@pytest.mark.parametrize("how", ["raises", "blocks", "is cancelled", "waits in vain"])
def test_a_loop_that_fails_loses_nothing(how):
    """`async for` takes a record, or does not: what the next loop gets follows on what this one got."""

    async def main():
        payloads: list[bytes] = []

        async with exchange("binance-spot", keep_logs=True, rate=500.0) as server:
            async with session(server, "binance-spot", changes={"silence": 0.7}) as stream:

                async def take(count: int) -> None:
                    async for one in stream:
                        if is_data(one):
                            payloads.append(one.payload)
                            if len(payloads) == 50 and how == "raises":
                                raise ValueError
                            if len(payloads) == 50 and how == "blocks":
                                time.sleep(1.0)
                        if len(payloads) >= count:
                            break

                if how == "raises":
                    with pytest.raises(ValueError):  # noqa: PT011
                        await take(1000)
                    assert len(payloads) == 50
                elif how == "is cancelled":
                    for _ in range(20):
                        task = asyncio.ensure_future(take(1_000_000))
                        await asyncio.sleep(0.02)
                        task.cancel()
                        with pytest.raises(asyncio.CancelledError):
                            await task
                elif how == "waits in vain":
                    for _ in range(200):
                        try:
                            one = await asyncio.wait_for(anext(stream), 0.001)
                        except TimeoutError:
                            continue
                        if is_data(one):
                            payloads.append(one.payload)
                await take(len(payloads) + 300)
                stats = stream.stats()
                assert stream.state is State.LIVE
            assert stats["gaps"] == stats["silences"] == stats["undelivered"] == 0
            assert len(server.connections) == 1
            assert list(dict.fromkeys(payloads)) == bodies_of(server.connections[0], len(set(payloads)))

    run(main())


def test_batches():
    async def main():
        class Batches(Handler):
            sizes: list[int] = []  # noqa: RUF012

            def on_batch(self, records):
                self.sizes.append(len(records))

        async with exchange("binance-spot", rate=3000.0) as server:
            handler = Batches()
            async with session(server, "binance-spot", handler=handler) as stream:
                while sum(handler.sizes) < 2000:
                    await asyncio.sleep(0.02)
                assert sum(handler.sizes) == stream.stats()["records"]
                assert max(handler.sizes) > 1

    run(main())


def test_a_function_is_a_handler():
    async def main():
        seen = []
        async with exchange("binance-spot") as server:
            async with session(server, "binance-spot", handler=seen.append) as stream:
                while len(seen) < 20:
                    await asyncio.sleep(0.02)
                with pytest.raises(TypeError, match="has a handler"):
                    aiter(stream)

    run(main())


def test_a_slow_reader_stops_the_socket_and_loses_nothing():
    async def main():
        async with exchange("binance-spot", rate=4000.0, keep_logs=True) as server:
            async with session(server, "binance-spot", limit=100) as stream:
                await asyncio.sleep(1.0)
                assert stream.stats()["waiting"] < 40_000
                payloads = []
                async for one in stream:
                    if is_data(one):
                        payloads.append(one.payload)
                    if len(payloads) >= 4000:
                        break
                assert stream.stats()["most_waiting"] > 100
            log = server.connections[0].log
            assert list(dict.fromkeys(payloads)) == list(dict.fromkeys(log))[: len(set(payloads))]

    run(main())


def test_gaps_are_filled_before_the_stream_goes_on():
    async def main():
        order: list[object] = []

        async def recover(gap):
            assert isinstance(gap, Gap)
            assert gap.end > gap.begin
            order.append("recover")
            await asyncio.sleep(0.3)
            order.append("recovered")

        async with exchange("binance-spot", faults=Faults(close_after=150)) as server:
            async with session(server, "binance-spot", recover=recover) as stream:
                async for one in stream:
                    order.append(one.event if one.kind == "notice" else "data")
                    if order.count("data") > 600:
                        break
        at = order.index("recover")
        assert "data" not in order[at : order.index("recovered")]
        assert order.index("gap") < order.index("reconnected")
        assert "data" in order[order.index("reconnected") :]

    run(main())


def test_a_recovery_that_fails_is_told():
    async def main():
        async def recover(gap):
            raise ValueError("with a secret")

        async with exchange("binance-spot", faults=Faults(close_after=30)) as server:
            async with session(server, "binance-spot", recover=recover) as stream:
                records = await until(stream, after(reconnected=1))
        assert [one.message for one in records if one.event == "error"] == ["recovery failed: ValueError"]

    run(main(), 10)


def test_messages_that_nothing_newer_follows_come_in_the_end():
    """Those that came while others waited, too."""

    async def main():
        async def serve(peer):
            await peer.receive()
            peer.send(SUBSCRIBED, order(1))
            await asyncio.sleep(0.15)
            peer.send(order(60))
            await peer.receive_until(CLOSE)

        async with RawServer(serve) as server:
            async with Session("binance-spot", CREDENTIALS, url=server.url, reorder=0.2) as stream:
                records = await until(stream, after(data=2))
        assert [one.number("order_id") for one in records if is_data(one)] == [1, 60]

    run(main(), 10)


def test_messages_are_put_in_order():
    async def main():
        faults = Faults(reorder=Every(3))
        async with exchange("openapi-broker", faults=faults, rate=300.0) as server:
            async with session(server, "openapi-broker", reorder=0.1) as stream:
                records = await until(stream, after(data=401))
                times = [one.ts_event for one in records if is_data(one) and one.ts_event]
                assert times == sorted(times)
                assert stream.stats()["out_of_order"] == 0
            async with session(server, "openapi-broker") as stream:
                records = await until(stream, after(data=401))
                times = [one.ts_event for one in records if is_data(one) and one.ts_event]
                assert times != sorted(times)

    run(main())


def test_the_loop_of_the_standard_library():
    async def main():
        async with exchange("binance-futures") as server, session(server, "binance-futures") as stream:
            await until(stream, after(data=21))

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("profile", ["hot", "fleet"])
def test_over_tls(profile, tls):
    async def main():
        async def serve(peer):
            await peer.receive()
            peer.send(SUBSCRIBED)
            peer.send(*(frame(b'{"e":"executionReport","s":"SOLEUR","i":%d}' % n) for n in range(2000)))
            await peer.receive()

        async with RawServer(serve, tls=tls.server) as server:
            async with Session("binance-spot", CREDENTIALS, url=server.url, profile=profile, tls=tls.client) as stream:
                records = await until(stream, after(data=2000))
                assert [one.number("order_id") for one in records if is_data(one)] == list(range(2000))
            async with Session(fast("binance-spot"), CREDENTIALS, url=server.url, profile=profile) as stream:
                records = await until(stream, lambda one, seen: len(seen) == 2)
                assert {one.event for one in records} == {"error"}  # nobody vouches for the certificate

    run(main())


@pytest.mark.parametrize("venue", ["binance-spot", "binance-futures"])
def test_an_exchange_over_tls(venue, tls):
    async def main():
        async with exchange(venue, tls=tls.server) as server:
            assert server.rest_url(venue).startswith("https://")
            async with session(server, venue, url=server.url(venue), tls=tls.client) as stream:
                await until(stream, after(data=21))

    run(main())


def test_busy_polling():
    async def main():
        async with exchange("binance-spot") as server, session(server, "binance-spot", spin=True) as stream:
            await until(stream, after(data=21))

    run(main())


def test_profiles():
    async def main():
        async with exchange("binance-spot") as server:
            async with session(server, "binance-spot", profile="fleet") as stream:
                await until(stream, after(data=21))

    run(main())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("profile", "fast", "no profile 'fast'"),
        ("limit", 0, "limit is at least 1, not 0"),
        ("max_message", -1, "max_message is at least 1"),
        ("reorder", -0.1, "reorder is at least 0"),
        ("event_silence", float("nan"), "event_silence is at least 0, not nan"),
        ("recover_timeout", -1, "recover_timeout is at least 0"),
    ],
)
def test_options_that_make_no_sense(name, value, message):
    with pytest.raises(ValueError, match=message):
        Session("binance-spot", CREDENTIALS, **{name: value})


# ---- MARK: What handlers do to others ----

ORDERS = {"instType": "SPOT", "channel": "orders", "instId": "default"}


def bitget_orders(*numbers: int) -> bytes:
    rows = [{"instId": "BTCUSDT", "orderId": str(n), "size": "1", "price": "2", "status": "live"} for n in numbers]
    return frame(json.dumps({"action": "snapshot", "arg": ORDERS, "data": rows, "ts": 1795000000000}).encode())


class Two:
    """Two accounts of Bitget, of which the second's connection holds records back."""

    def __init__(self) -> None:
        self.peers: dict[str, list[Any]] = {}
        self.accounts = [Account(Credentials(f"key-{name}", "s", PASSPHRASE)) for name in ("one", "two")]

    async def serve(self, peer):
        _, login = await peer.receive()
        self.peers.setdefault(json.loads(login)["args"][0]["apiKey"], []).append(peer)
        peer.send(frame(b'{"event":"login","code":0}'))
        await peer.receive_until(1)
        peer.send(frame(json.dumps({"event": "subscribe", "arg": ORDERS}).encode()))
        while True:
            await peer.receive()

    async def recover(self, _gap):
        await asyncio.sleep(50)

    @contextlib.asynccontextmanager
    async def stream(self, handler, **more):
        async with RawServer(self.serve) as server:
            stream = Session(
                fast("bitget"), accounts=self.accounts, channels=["SPOT/orders"], url=server.url, handler=handler,
                recover=self.recover, **more,
            )  # fmt: skip
            async with stream:
                while stream.state is not State.LIVE:
                    await asyncio.sleep(0.01)
                self.peers["key-two"][0].abort()
                while stream.state is not State.RECOVERING:
                    await asyncio.sleep(0.01)
                self.peers["key-two"][1].send(bitget_orders(*range(9000, 9005)))
                while stream.stats()["delayed"] < 3:  # with the answers
                    await asyncio.sleep(0.01)
                yield stream


@pytest.mark.parametrize("count", [4, 40])
def test_a_handler_takes_off_an_account_whose_records_are_held_back(count):
    """What is released then does not come between the records of the message that is being delivered."""

    async def main():
        two, seen = Two(), []

        def take(record):
            if record.kind == "order":
                seen.append(record.number("order_id"))
                if record.number("order_id") == 0:
                    stream.unsubscribe(two.accounts[1])

        async with two.stream(take) as stream:
            two.peers["key-one"][0].send(bitget_orders(*range(count)))
            while len(seen) < count + 5:
                await asyncio.sleep(0.01)
        assert seen == [*range(count), *range(9000, 9005)]

    run(main(), 10)


def test_a_batch_handler_takes_off_an_account_whose_records_are_held_back():
    """What is released then is a batch of its own, after the present one."""

    async def main():
        two, seen = Two(), []

        class Batches(Handler):
            def on_batch(self, records):
                if 0 in [one.number("order_id") for one in records if one.kind == "order"]:
                    stream.unsubscribe(two.accounts[1])
                seen.extend(one.number("order_id") for one in records if one.kind == "order")

        async with two.stream(Batches()) as stream:
            two.peers["key-one"][0].send(bitget_orders(*range(4)))
            while len(seen) < 9:
                await asyncio.sleep(0.01)
        assert seen == [*range(4), *range(9000, 9005)]

    run(main(), 10)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_handler_cancels_while_another_connection_holds_records_back(tmp_path, recorded):
    async def main():
        two, seen = Two(), []

        def take(record):
            if record.kind == "order":
                seen.append(record.number("order_id"))
                raise asyncio.CancelledError

        async with two.stream(take, record=tmp_path / "recorded.txt" if recorded else None) as stream:
            two.peers["key-one"][0].send(bitget_orders(*range(40)))
            with pytest.raises(asyncio.CancelledError):
                await stream.run()
            assert stream.stats()["undelivered"] >= 39
        assert seen[0] == 0

    run(main(), 10)


# ---- MARK: Watches ----


def test_what_is_held_back_while_a_gap_is_filled_is_no_silence():
    async def main():
        async def serve(peer):
            number = len(server.peers)
            await peer.receive()
            peer.send(SUBSCRIBED)
            for n in range(1000):
                if number == 1 and n == 5:
                    peer.abort()
                    return
                peer.send(order(1000 * number + n))
                await asyncio.sleep(0.05)

        async def recover(_gap):
            await asyncio.sleep(1.5)

        seen: list[str] = []
        async with RawServer(serve) as server:
            stream = Session(
                fast("binance-spot"), CREDENTIALS, url=server.url, event_silence=0.7, recover=recover,
                handler=lambda record: seen.append(record.event),
            )  # fmt: skip
            async with stream:
                while "reconnected" not in seen:
                    await asyncio.sleep(0.05)
                assert stream.stats()["silences"] == 0
        assert seen.count("gap") == 1

    run(main(), 10)


def test_an_expected_event_that_comes_before_a_handover_is_done():
    async def main():
        ready = asyncio.Event()

        async def serve(peer):
            number = len(server.peers)
            await peer.receive()
            if number == 2:
                await ready.wait()
            peer.send(SUBSCRIBED)
            while True:
                opcode, payload = await peer.receive()
                if opcode == PING:
                    peer.send(frame(payload, PONG))

        seen: list[str] = []
        async with RawServer(serve) as server:
            stream = Session(
                fast("binance-spot", lifetime=1, lead=0.5), CREDENTIALS, url=server.url,
                handler=lambda record: seen.append(record.event),
            )  # fmt: skip
            async with stream:
                while len(server.peers) < 2:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                stream.expect_event(0.6)
                server.peers[0].send(order(1))
                await asyncio.sleep(0.2)
                ready.set()
                await asyncio.sleep(1.0)
                assert stream.stats()["silences"] == 0
        assert "gap" not in seen

    run(main(), 10)


def test_what_waits_for_its_turn_comes_before_the_end_of_its_connection():
    async def main():
        async def serve(peer):
            await peer.receive()
            peer.send(SUBSCRIBED, order(1), order(2))
            await asyncio.sleep(50)

        seen: list[str] = []
        async with RawServer(serve) as server:
            stream = Session(
                fast("binance-spot", silence=1), CREDENTIALS, url=server.url, reorder=30,
                handler=lambda record: seen.append(record.event),
            )  # fmt: skip
            async with stream:
                while "disconnected" not in seen:
                    await asyncio.sleep(0.05)
        assert [one for one in seen if one != "response"][:4] == [
            "connected", "executionReport", "executionReport", "disconnected",
        ]  # fmt: skip

    run(main(), 10)


# ---- MARK: Sessions that end before they have begun ----


def test_nothing_begins_after_an_account_that_cannot_sign():
    async def main():
        async with exchange("openapi-broker", options=Options(openapi_header="X-BH-APIKEY")) as server:
            accounts = [Account(Key("only-a-key")), Account(CREDENTIALS)]
            stream = session(server, "openapi-broker", None, accounts=accounts, spin=True)
            with pytest.raises(SessionError, match="cannot sign"):
                await stream.run()
            assert stream.state is State.CLOSED
            await asyncio.sleep(0.3)
            assert not server.open_connections()
            assert not stream._spinning
            await stream.close()

    run(main(), 10)


# ---- MARK: Secrets ----


def test_a_listen_key_in_a_read_that_is_recorded_in_parts(tmp_path):
    """A megabyte goes to the recorder before a read ends: the answer with the key may be what makes it one."""

    async def main():
        async def serve(peer):
            await peer.receive()
            peer.send(SUBSCRIBED)
            _, request = await peer.receive()
            answer = b'{"id":%d,"status":200,"result":{"listenKey":"LISTENKEY-SECRET"},"pad":"%b"}'
            peer.send(frame(answer % (json.loads(request)["id"], b"x" * (1 << 20))), order(1))
            await asyncio.sleep(50)

        path = tmp_path / "recorded.txt"
        async with RawServer(serve) as server:
            async with Session(fast("binance-spot"), CREDENTIALS, url=server.url, record=path) as stream:
                await until(stream, lambda one, _: one.event == "connected")
                await stream.request("start")
                await until(stream, lambda one, _: one.event == "executionReport")
        return path.read_bytes()

    recorded = run(main(), 10)
    assert b'"pad":"xxx' in recorded
    assert b"SECRET" not in recorded


# ---- MARK: While the next connection gets ready ----


class Slow:
    """A venue that answers subscriptions on its second connection only when it is told to."""

    def __init__(self) -> None:
        self.peers: list[Any] = []
        self.go = asyncio.Event()

    async def serve(self, peer):
        self.peers.append(peer)
        number, ids = len(self.peers), 0
        while True:
            opcode, payload = await peer.receive()
            if opcode == PING:
                peer.send(frame(payload, PONG))
            elif opcode == 1:
                if number == 2:
                    await self.go.wait()
                answer = {"id": json.loads(payload)["id"], "status": 200, "result": {"subscriptionId": ids}}
                peer.send(frame(json.dumps(answer).encode()))
                ids += 1


def test_accounts_are_told_that_the_stream_has_ended_while_the_next_connection_gets_ready():
    async def main():
        slow, told = Slow(), {"a": [], "b": [], "others": []}

        def handler(name):
            return lambda one: (
                told[name].append(one.event) if one.kind == "notice" and one.event != "response" else None
            )

        accounts = [Account(Credentials(f"key-{name}", "s"), handler(name)) for name in "ab"]
        async with RawServer(slow.serve) as server:
            venue = fast("binance-spot", lifetime=1, lead=0.5)
            stream = Session(venue, accounts=accounts, url=server.url, handler=handler("others"))
            async with stream:
                while len(slow.peers) < 2:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                slow.peers[0].abort()
                while "disconnected" not in told["others"]:
                    await asyncio.sleep(0.01)
                slow.go.set()
                while "reconnected" not in told["b"]:
                    await asyncio.sleep(0.01)
                assert all(one[:4] == ["connected", "disconnected", "gap", "reconnected"] for one in told.values())

    run(main(), 10)


def test_what_waits_for_its_turn_on_two_connections_comes_in_order():
    async def main():
        slow, seen = Slow(), []
        async with RawServer(slow.serve) as server:
            venue = fast("binance-spot", lifetime=2, lead=1.5)
            stream = Session(
                venue, CREDENTIALS, url=server.url, reorder=0.6,
                handler=lambda one: seen.append(one.number("order_id")) if one.kind == "order" else None,
            )  # fmt: skip
            async with stream:
                while len(slow.peers) < 2:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                old, new = slow.peers
                old.send(order(0))
                await asyncio.sleep(0.36)
                old.send(order(10))
                await asyncio.sleep(0.04)
                slow.go.set()
                await asyncio.sleep(0.02)
                old.send(order(110))
                new.send(order(110))
                while len(seen) < 3:
                    await asyncio.sleep(0.01)
        assert seen == [0, 10, 110]

    run(main(), 10)
