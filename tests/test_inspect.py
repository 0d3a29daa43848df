"""Inspection: everything the dialects do not know, where it was first seen, and no secrets."""

from __future__ import annotations

import gzip
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from execwire import Decoder
from execwire.inspection import Finding, example, inspect

if TYPE_CHECKING:
    from pathlib import Path

ORDER = b'{"e":"executionReport","E":1795000000120,"s":"BTCUSDT","S":"BUY","o":"LIMIT","X":"NEW","x":"NEW","p":"1.5"}'


def capture(path: Path, *payloads: bytes) -> Path:
    path.write_bytes(b"".join(b"%d %s\n" % (1795000000 + i, payload) for i, payload in enumerate(payloads)))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture"


def test_counts(path: Path) -> None:
    rows = b'[{"a":"A","f":"1","l":"0"},{"a":"B","f":"2","l":"0"}]'
    balances = b'{"e":"outboundAccountPosition","E":1795000000500,"u":1795000000499,"B":%s}' % rows
    capture(path, ORDER, ORDER, balances, b'{"execwire":"connected"}')
    report = inspect([path], Decoder("binance-spot"))
    assert report.files == {str(path): "hftbacktest"}
    assert (report.messages, report.records, report.failed, report.control_lines) == (3, 4, 0, 1)
    assert report.received == (1795000000 * 10**9, 1795000002 * 10**9)
    assert report.events == (1795000000_120000000, 1795000000_500000000)
    venue = report.venues["binance-spot"]
    assert venue.messages == 3
    assert venue.events == {"executionReport": 2, "outboundAccountPosition": 1}
    assert venue.kinds == {"order": 2, "balance": 2}
    assert [venue.unknown_events, venue.new_keys, venue.unknown_enums, venue.unrepresentable] == [{}, {}, {}, {}]


def test_a_path_is_not_a_list_of_letters(path: Path) -> None:
    path.write_bytes(b'{"e":"balanceUpdate","a":"X","d":"1"}\n')
    for one in (path, str(path)):
        report = inspect(one, Decoder("binance-spot"))
        assert (list(report.files), report.messages, report.damaged) == ([str(path)], 1, [])


def test_findings(path: Path) -> None:
    capture(
        path,
        ORDER,
        ORDER[:-1] + b',"zz":{"deep":1.50}}',
        ORDER.replace(b'"LIMIT"', b'"ICEBERG"'),
        ORDER.replace(b'"LIMIT"', b'"ICEBERG"').replace(b'"NEW"', b'"NEWER"'),
        ORDER.replace(b'"1.5"', b'"about one"')[:-1] + b',"zz":2}',
        b'{"e":"marvel","E":1795000000120,"x":1,"y":2}',
        b'{"e":"marvel","E":1795000000120}',
    )
    venue = inspect([path], Decoder("binance-spot")).venues["binance-spot"]
    assert list(venue.new_keys.values()) == [Finding("zz", '{"deep":1.50}', f"{path}:2 (byte 130)", 2)]
    assert {(one.path, one.example): one.count for one in venue.unknown_enums.values()} == {
        ("o", '"ICEBERG"'): 2,
        ("X", '"NEWER"'): 1,
        ("x", '"NEWER"'): 1,
    }
    assert [(one.path, one.example, one.count) for one in venue.unrepresentable.values()] == [("p", '"about one"', 1)]
    assert list(venue.unknown_events.values()) == [Finding("marvel", "keys: x, y", f"{path}:6 (byte 646)", 2)]
    assert venue.events == {"executionReport": 5}


def test_keys_that_are_data_do_not_fill_the_memory(path: Path) -> None:
    capture(path, *(ORDER[:-1] + b',"k%d":%d}' % (i, i) for i in range(1500)))
    findings = list(inspect([path], Decoder("binance-spot")).venues["binance-spot"].new_keys.values())
    assert len(findings) == 1001
    assert (findings[999].path, findings[999].example, findings[999].count) == ("k999", "999", 1)
    assert (findings[1000].path, findings[1000].example, findings[1000].count) == ("(others)", "", 500)


def test_failures_have_positions(path: Path) -> None:
    capture(path, ORDER, b'{"e":', b"[1]")
    report = inspect([path], Decoder("binance-spot"))
    assert (report.messages, report.failed) == (3, 2)
    assert [one.where for one in report.failures] == [f"{path}:2 (byte 135)", f"{path}:3 (byte 148)"]
    assert all(one.message for one in report.failures)


def test_damaged_and_missing_files(path: Path, tmp_path: Path) -> None:
    path.write_bytes(gzip.compress(ORDER + b"\n" + ORDER + b"\n")[:-3])
    report = inspect([tmp_path / "missing", path], Decoder("binance-spot"))
    assert report.messages == 2
    assert report.files == {str(path): "ndjson (gzip)"}
    assert [(one.where, one.message.partition(":")[0]) for one in report.damaged] == [
        (str(tmp_path / "missing"), "No such file or directory"),
        (str(path), "truncated gzip data"),
    ]


def test_secrets_are_not_shown(path: Path) -> None:
    secret = b"s3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3t"
    capture(
        path,
        ORDER[:-1] + b',"listenKeyTwo":"%s"}' % secret,
        ORDER[:-1] + b',"login":{"passPhrase":"short","deep":[{"token":1}],"ok":"yes"}}',
        ORDER[:-1] + b',"plain":"%s"}' % secret,
        ORDER[:-1] + b',"headers":["Bearer abc"]}',
        ORDER.replace(b'"LIMIT"', b'"%s"' % secret),
        b'{"e":"secretEvent","E":1,"apiKey":"%s"}' % secret,
    )
    report = inspect([path], Decoder("binance-spot"))
    venue = report.venues["binance-spot"]
    assert {one.path: one.example for one in venue.new_keys.values()} == {
        "listenKeyTwo": "<hidden>",
        "login": '{"passPhrase":"<hidden>","deep":[{"token":"<hidden>"}],"o...',
        "plain": '"<hidden>"',
        "headers": '["<hidden>"]',
    }
    assert "s3cr3t" not in str(report.to_dict())


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("a.b", "text", '"text"'),
        ("a.b", 123456789012345678901234567890, "123456789012345678901234567890"),
        ("a.b", Decimal("1.50"), "1.50"),
        ("a.b", [None, True], "[null,true]"),
        ("a.b", "two\nlines\x1b[0m\u202e", '"two\\nlines\\u001b[0m\\x202e"'),
        ("a.b", "x y " * 30, '"' + "x y " * 14 + "..."),
        ("arg.apiKey", "k", "<hidden>"),
        ("stream", "k", "<hidden>"),
        ("args.sign", "k", "<hidden>"),
        ("a", {"upstream": "k", "secret": "k"}, '{"upstream":"k","secret":"<hidden>"}'),
    ],
)
def test_example(path: str, value: object, shown: str) -> None:
    assert example(path, value) == shown


def test_plain_values(path: Path) -> None:
    capture(path, ORDER[:-1] + b',"zz":1}')
    assert inspect([path], Decoder("binance-spot")).to_dict()["venues"] == {
        "binance-spot": {
            "messages": 1,
            "events": {"executionReport": 1},
            "kinds": {"order": 1},
            "unknown_events": [],
            "new_keys": [{"path": "zz", "example": "1", "first": f"{path}:1 (byte 11)", "count": 1}],
            "unknown_enums": [],
            "unrepresentable": [],
        }
    }


def test_venue_is_found_for_each_message(path: Path) -> None:
    capture(path, ORDER, b'{"event":"login","code":0}', b"connect success")
    assert sorted(inspect([path]).venues) == ["binance-spot", "bitget", "gzip-broker"]
