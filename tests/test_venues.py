"""Venue files: what they come out as, and what is said about a wrong one."""

import datetime
from pathlib import Path

import pytest

from execwire import venues

ORDER = """
name = "acme"

[enums.side]
B = "buy"
S = "sell"

[[event]]
name = "order"
when = { type = "order" }
kind = "order"
fields = { symbol = "s", side = "d", price = ["p", "px"] }
"""


@pytest.fixture
def write(tmp_path):
    """Write a venue file and give its path."""

    def write(text, name="acme.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def fields_of(emit):
    return {name: [str(path) for path in paths] for name, paths in emit.fields.items()}


# ---- MARK: What a file comes out as ----


def test_paths_keep_scope_and_steps(write):
    venue = venues.load(write(ORDER.replace('"d"', '["/a.b", "//stream", "fee.0.x"]')))
    row, event, frame = venues.Path("", ("s",)), venues.Path("/", ("a", "b")), venues.Path("//", ("stream",))
    emit = venue.events[0].emits[0]
    assert emit.fields["symbol"] == (row,)
    assert emit.fields["side"] == (event, frame, venues.Path("", ("fee", 0, "x")))
    assert [str(path) for path in emit.fields["side"]] == ["/a.b", "//stream", "fee.0.x"]


def test_common_reaches_every_emit_that_has_the_field_and_does_not_name_it(write):
    text = ORDER.replace("[[event]]", '[common]\nts_event = "/E"\nsymbol = "/S"\nrequest_id = "/id"\n[[event]]', 1)
    venue = venues.load(write(text))
    assert fields_of(venue.events[0].emits[0]) == {
        "ts_event": ["/E"],
        "symbol": ["s"],
        "side": ["d"],
        "price": ["p", "px"],
    }
    # Of the generated notices, which have no symbol.
    assert {name: list(map(str, paths)) for name, paths in venue.common.items()} == {
        "ts_event": ["/E"],
        "request_id": ["/id"],
    }


def test_an_empty_list_or_a_constant_keeps_common_away(write):
    common = '[common]\nsymbol = "/S"\nside = "/D"\n[[event]]'
    text = ORDER.replace("[[event]]", common, 1).replace('symbol = "s", side = "d"', "symbol = []")
    venue = venues.load(write(text + 'const = { side = "buy" }\n'))
    emit = venue.events[0].emits[0]
    assert fields_of(emit) == {"price": ["p", "px"]}
    assert emit.consts == {"side": "buy"}


def test_fields_of_envelopes_come_last_and_from_the_frame(write):
    envelopes = """
[[envelope]]
enter = "data"
when = ["stream"]
fields = { ts_event = "ts", subscription_id = "sub.id" }
known = ["trace"]
[[event]]"""
    text = ORDER.replace("[[event]]", envelopes, 1).replace('symbol = "s"', 'symbol = "s", ts_event = "E"')
    venue = venues.load(write(text))
    assert venue.envelopes[0].when == ("stream",)
    emit = fields_of(venue.events[0].emits[0])
    assert emit["ts_event"] == ["E", "//ts"]
    assert emit["subscription_id"] == ["//sub.id"]


def test_top_level_values(write):
    text = 'title = "Acme"\nchecked = 2026-11-21\ndocs = ["https://example.org"]\n' + ORDER
    text += "[session]\nurl = 'wss://example.org'\n[session.errors]\nn = 'retry'\n"
    venue = venues.load(write(text + "[sbe]\nschemas = [3]\nname_key = 'e'\n"))
    assert venue.title == "Acme"
    assert venue.checked == datetime.date(2026, 11, 21)
    assert venue.docs == ("https://example.org",)
    assert venue.session == {"url": "wss://example.org", "errors": {"n": "retry"}}
    assert venue.sbe == {"schemas": [3], "name_key": "e"}
    assert venue.sbe_schema is not None
    assert venue.sbe_schema.ids == (3,)
    assert venue.enums == {"side": {"B": "buy", "S": "sell"}}


def test_discriminators_in_order_of_first_appearance(write):
    more = """
[[event]]
name = "a"
when = { "arg.channel" = "a", op = "<any>" }
kind = "notice"
code = "response"
[[event]]
name = "b"
when = { type = ["b", 7] }
kind = "notice"
code = "response"
"""
    venue = venues.load(write(ORDER + more))
    assert [str(path) for path in venue.discriminators] == ["type", "arg.channel"]
    assert venue.events[2].when[0].texts == ("b", "7")


def test_table(write):
    text = """
name = "acme"
[[envelope]]
enter = "data"
when = ["stream", "x"]
fields = { subscription_id = "sub" }
known = ["trace.id"]
[[prompt]]
text = "connect success"
code = "welcome"
[common]
ts_event = "/E"
[enums.bool]
T = true
N = false
[enums.side]
"" = "buy"
[[event]]
name = "acc"
when = { e = "acc", m = ["<object>", "x y"] }
known = ["u", "m.k"]
[[event.emit]]
kind = "balance"
rows = "a.B"
fields = { asset = ["a", "/b"] }
known = ["z", "/q"]
[[event.emit]]
kind = "notice"
code = "margin_call"
"""
    assert venues.load(write(text)).table().splitlines() == [
        "execwire\t1",
        "name\tacme",
        "envelope\tdata\tstream\tx",
        "wrapper\tsub",
        "wrapper\ttrace.id",
        "prompt\twelcome\tconnect success",
        "enum\tbool\tT\ttrue",
        "enum\tbool\tN\tfalse",
        "enum\tside\t\tbuy",
        "common\tts_event\t/E",
        "common\tsubscription_id\t//sub",
        "event\tacc",
        "when\te\tacc",
        "when\tm\t<object>\tx y",
        "known\tu",
        "known\tm.k",
        "emit\tbalance\ta.B",
        "field\tts_event\t/E",
        "field\tasset\ta\t/b",
        "field\tsubscription_id\t//sub",
        "known\tz",
        "known\t/q",
        "emit\tnotice\t",
        "field\tts_event\t/E",
        "field\tsubscription_id\t//sub",
        "const\tcode\tmargin_call",
    ]


# ---- MARK: like ----


def test_like_merges_key_by_key(write):
    more = """
[[event]]
name = "amend"
when = { type = "amend" }
like = "order"
rows = "o"
fields = { price = "np" }
const = { side = "sell" }
known = ["z"]
"""
    venue = venues.load(write(ORDER + 'known = ["k"]\n' + more))
    emit = venue.events[1].emits[0]
    assert emit.kind == "order"
    assert str(emit.rows) == "o"
    assert fields_of(emit) == {"symbol": ["s"], "price": ["np"]}
    assert emit.consts == {"side": "sell"}
    assert list(map(str, emit.known)) == ["z", "k"]


TWO = """
[[event]]
name = "two"
when = { type = "two" }
[[event.emit]]
kind = "balance"
rows = "b"
[[event.emit]]
kind = "position"
rows = "p"
"""


@pytest.mark.parametrize("own", ["", 'kind = "fill"'])
def test_like_takes_several_emits_whole_or_not_at_all(write, own):
    more = f'[[event]]\nname = "three"\nwhen = {{ type = "three" }}\nlike = "two"\n{own}\n'
    emits = venues.load(write(ORDER + TWO + more)).events[2].emits
    assert [emit.kind for emit in emits] == (["fill"] if own else ["balance", "position"])


def test_like_with_known_alone(write):
    more = '[[event]]\nname = "{0}"\nwhen = {{ type = "{0}" }}\nlike = "{1}"\nknown = ["z"]\n'
    events = venues.load(write(ORDER + TWO + more.format("three", "two") + more.format("four", "order"))).events
    known = venues.Path("", ("z",))
    assert [(event.known, [emit.known for emit in event.emits]) for event in events[2:]] == [
        ((known,), [(), ()]),
        ((), [(known,)]),
    ]


def test_like_of_the_own_name_means_the_variant_without_like(write):
    variant = (
        '[[event]]\nname = "order"\nwhen = { type = "order", v = "2" }\nlike = "order"\nfields = { price = "q" }\n'
    )
    head, tail = ORDER.split("[[event]]")
    venue = venues.load(write(head + variant + "[[event]]" + tail))
    assert [fields_of(event.emits[0])["price"] for event in venue.events] == [["q"], ["p", "px"]]


def test_like_in_a_circle(write):
    more = '[[event]]\nname = "{}"\nwhen = {{ type = "{}" }}\nlike = "{}"\n'
    with pytest.raises(venues.VenueError, match=r"event 'a'\.like: goes round in a circle"):
        venues.load(write(ORDER + more.format("a", "a", "b") + more.format("b", "b", "a")))


# ---- MARK: inherits ----

PARENT = """
name = "parent"
title = "Parent"
docs = ["https://example.org"]

[[envelope]]
enter = "data"

[[prompt]]
text = "pong"
code = "pong"

[common]
ts_event = "/E"
ts_transact = "/T"

[enums.side]
B = "buy"
S = "sell"

[session]
url = "wss://a"
timeout = 1

[session.errors]
n = "fatal"
m = "wait"

[[event]]
name = "order"
when = { type = "order" }
kind = "order"
fields = { symbol = "s", price = "p" }

[[event]]
name = "fill"
when = { type = "fill" }
like = "order"
kind = "fill"
"""


def test_inherits(write):
    write(PARENT, "parent.toml")
    child = """
name = "child"
inherits = "parent.toml"
title = "Child"

[[envelope]]
enter = "payload"

[[prompt]]
text = "pong"
code = "ping"

[common]
ts_event = "/ts"

[enums.side]
B = "sell"
L = "buy"

[session]
timeout = 3

[session.errors]
n = "retry"

[[event]]
name = "order"
when = { type = "order" }
like = "order"
fields = { price = "px" }

[[event]]
name = "order"
when = { type = "order2" }
like = "order"

[[event]]
name = "replace"
when = { type = "replace" }
like = "order"
"""
    venue = venues.load(write(child, "child.toml"))
    assert (venue.name, venue.title, venue.docs) == ("child", "Child", ("https://example.org",))
    assert [envelope.enter for envelope in venue.envelopes] == ["payload", "data"]
    assert venue.prompts == (venues.Prompt("pong", "ping"),)
    assert venue.enums == {"side": {"B": "sell", "S": "sell", "L": "buy"}}
    assert venue.session == {"url": "wss://a", "timeout": 3, "errors": {"n": "retry", "m": "wait"}}
    # The child's, then the parent's but for the order, which the child's first replaces.
    assert [(event.name, event.when[0].texts) for event in venue.events] == [
        ("order", ("order",)),
        ("order", ("order2",)),
        ("replace", ("replace",)),
        ("fill", ("fill",)),
    ]
    # The child's orders are like the parent's, its replace is like its own; the parent's fill stays as it was.
    common = {"ts_event": ["/ts"], "ts_transact": ["/T"]}
    assert [fields_of(event.emits[0]) for event in venue.events] == [
        {**common, "symbol": ["s"], "price": ["px"]},
        {**common, "symbol": ["s"], "price": ["p"]},
        {**common, "symbol": ["s"], "price": ["px"]},
        {**common, "symbol": ["s"], "price": ["p"]},
    ]


def test_a_path_is_relative_to_the_file_that_names_it(tmp_path, write):
    (tmp_path / "deep").mkdir()
    write(PARENT, "parent.toml")
    write('name = "mid"\ninherits = "../parent.toml"\n', "deep/mid.toml")
    venue = venues.load(write('name = "leaf"\ninherits = "deep/mid.toml"\n', "leaf.toml"))
    assert venue.name == "leaf"
    assert [event.name for event in venue.events] == ["order", "fill"]


# ---- MARK: Samples ----

SAMPLES = f'{{"e":"order","p":"1.5"}}\n\n  {{"e":"order","p":{"7" * 5000}}}  \r\n{{"e":"fill","x":"\u2028"}}'


def test_samples_are_lines_beside_the_file(tmp_path, write):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "some.ndjson").write_text(SAMPLES)
    write(f'samples = "some.ndjson"{PARENT}', "deep/parent.toml")
    want = ('{"e":"order","p":"1.5"}', f'{{"e":"order","p":{"7" * 5000}}}', '{"e":"fill","x":"\u2028"}')
    child = venues.load(write('name = "leaf"\ninherits = "deep/parent.toml"\n', "leaf.toml"))
    assert child.samples == want
    assert child.table().endswith("".join(f"sample\t{sample}\n" for sample in want))
    (tmp_path / "own.ndjson").write_text("{}")
    own = venues.load(write('name = "leaf"\ninherits = "deep/parent.toml"\nsamples = "own.ndjson"\n', "own.toml"))
    assert own.samples == ("{}",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{}\n\n{"a":one}\n', "line 3: Expecting value at character 6"),
        (b'{"a":\t1}', "line 1: must not hold control characters"),
        (b"[" * 100_000 + b"]" * 100_000, "line 1: nested too deeply"),
        (b"{}\n\xff", "not UTF-8 at byte 3"),
        (b"{}\n" * 257, "257 payloads, but a few of each event do; at most 256"),
        (None, "No such file or directory"),
    ],
)
def test_samples_that_are_none(tmp_path, write, content, message):
    if content is not None:
        (tmp_path / "some.ndjson").write_bytes(content)
    path = write('name = "leaf"\nsamples = "some.ndjson"\n')
    with pytest.raises(venues.VenueError) as caught:
        venues.load(path)
    assert str(caught.value) in (f"{path}: samples: some.ndjson: {message}",)


def test_inherits_in_a_circle(write):
    write('name = "a"\ninherits = "b.toml"\n', "a.toml")
    path = write('name = "b"\ninherits = "a.toml"\n', "b.toml")
    with pytest.raises(venues.VenueError, match=r"b\.toml: inherits: goes round in a circle"):
        venues.load(path)


# ---- MARK: Errors ----


def event(**keys):
    body = {"name": '"x"', "when": '{ e = "x" }', "kind": '"order"', **keys}
    lines = (f"{key.replace('_', '')} = {value}" for key, value in body.items() if value)
    return 'name = "acme"\n[[event]]\n' + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "Invalid value (at end of document)"),
        ("title = 'x'", "needs a name"),
        ("name = 'a b'", "name: 'a b' may hold letters, digits and . _ - only"),
        ("name = 'a'\nevents = 1", "unknown key 'events', did you mean 'event'?"),
        ("name = 'a'\nevent = 1", "event: must be an array of tables: [[event]]"),
        ("name = 'a'\nchecked = 'today'", "checked: must be a date"),
        ("name = 'a'\ninherits = 'nowhere.toml'", None),
        ("name = 'a'\n[enums.sides]\nB = 'buy'", "enums: unknown vocabulary 'sides', did you mean 'side'?"),
        ("name = 'a'\n[enums.code]\nB = 'pong'", "enums: unknown vocabulary 'code'"),
        ("name = 'a'\n[enums.side]\nB = 'bye'", "enums.side.B: unknown word of side 'bye', did you mean 'buy'?"),
        ("name = 'a'\n[enums.side]\nB = 'unknown'", "enums.side.B: unknown word of side 'unknown'"),
        ("name = 'a'\n[enums.side]\nB = true", "enums.side.B: must be a text, not True"),
        ('name = "a"\n[enums.side]\n"a\\tb" = "buy"', "enums.side: must not hold control characters"),
        ("name = 'a'\n[common]\nts_evnt = '/E'", "common: unknown field 'ts_evnt', did you mean 'ts_event'?"),
        ("name = 'a'\n[common]\nts_recv = '/E'", "common: 'ts_recv' is no field of a payload"),
        ("name = 'a'\n[[envelope]]\nkey = 'x'", "envelope: unknown key 'key'"),
        ("name = 'a'\n[[envelope]]\nwhen = ['x']", "envelope 1: needs enter = the key that holds the event"),
        (
            "name = 'a'\n[[envelope]]\nenter = 'x'\nfields = { symbol = '/s' }",
            "envelope 1.fields.symbol: bad path '/s': no slash may lead it here",
        ),
        ("name = 'a'\n[[prompt]]\ntext = 'x'", "prompt 1: needs code"),
        (
            "name = 'a'\n[[prompt]]\ntext = 'x'\ncode = 'pomg'",
            "prompt 1.code: unknown notice code 'pomg', did you mean 'pong'?",
        ),
        (
            "name = 'a'\n[[prompt]]\ntext = '[x'\ncode = 'pong'",
            "prompt 1.text: must neither begin nor end with white space, nor begin like JSON",
        ),
        (event(name=""), "event: needs a name"),
        (event(when=""), "event 'x': needs when = { ... }"),
        (event(when="{}"), "event 'x'.when: needs a condition"),
        (event(when='{ "/e" = "x" }'), "event 'x'.when./e: bad path '/e': no slash may lead it here"),
        (event(when='{ "a.0" = "x" }'), "event 'x'.when.a.0: bad path 'a.0': no index may stand here"),
        (event(when='{ e = "<objekt>" }'),
         "event 'x'.when.e: unknown type of value '<objekt>', did you mean '<object>'?"),
        (
            event(when="{ e = true }"),
            "event 'x'.when.e: only strings and numbers are compared; <bool> stands for both true and false",
        ),
        (event(kind=""), "event 'x': needs a kind, an [[event.emit]] or like = ..."),
        (event(kind='"orders"'), "event 'x'.kind: unknown kind 'orders', did you mean 'order'?"),
        (event(row='"a"'), "event 'x': unknown key 'row', did you mean 'rows'?"),
        (event(rows='"a.0"'), "event 'x'.rows: bad path 'a.0': no index may stand here"),
        (event(fields='{ prise = "p" }'), "event 'x'.fields: unknown field of order 'prise', did you mean 'price'?"),
        (event(fields='{ code = "p" }', kind='"notice"', code_='"error"'),
         "event 'x'.fields: a notice's code is given by code = ..."),
        (event(fields='{ price = "a..b" }'), "event 'x'.fields.price: bad path 'a..b': a key is empty"),
        (event(fields='{ price = "///p" }'), "event 'x'.fields.price: bad path '///p': at most two slashes"),
        (event(fields='{ price = "a.10" }'),
         "event 'x'.fields.price: bad path 'a.10': an index must be a plain number up to 9"),
        (event(fields='{ price = "a.00" }'),
         "event 'x'.fields.price: bad path 'a.00': an index must be a plain number up to 9"),
        (event(fields='{ price = "0.a" }'),
         "event 'x'.fields.price: bad path '0.a': begins with an index, but an object stands there"),
        (event(fields="{ price = 1 }"), "event 'x'.fields.price: must be a text, not 1"),
        (event(known='"a"'), "event 'x'.known: must be a list of paths, not 'a'"),
        (event(const='{ price = "buy" }'), "event 'x'.const.price: only fields that hold a word can be constant"),
        (event(const='{ side = "long" }'), "event 'x'.const.side: unknown word of side 'long'"),
        (event(const='{ side = "buy" }', fields='{ side = "S" }'), "event 'x'.const: 'side' is in fields already"),
        (event(code_='"pong"'), "event 'x': code is for notices only"),
        (event(kind='"notice"'), "event 'x': a notice needs a code"),
        (event(kind='"notice"', code_='"margincall"'),
         "event 'x'.code: unknown notice code 'margincall', did you mean 'margin_call'?"),
        (event(like='"y"'), "event 'x'.like: no other event 'y'"),
        (event(emit='[{ kind = "order" }]'), "event 'x': kind must stand in one of its [[event.emit]]"),
        (event(kind="", emit='[{ kind = "order", fields = { q = "q" } }]'),
         "event 'x'.emit 1.fields: unknown field of order 'q'"),
        (event(kind="", emit='[{ kind = "order", rows = "r" }, { kind = "fill", rows = "r" }]'),
         "event 'x': has two emits with the same rows"),
        (event() + '[[event]]\nname = "y"\nwhen = { e = "x" }\nkind = "fill"\n',
         "event 'y': has the same when as event 'x', so that it would never match"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(write, text, message):
    path = write(text)
    with pytest.raises(venues.VenueError) as caught:
        venues.load(path)
    file = path if message else path.parent / "nowhere.toml"
    assert str(caught.value) == f"{file}: {message or 'No such file or directory'}"


def test_a_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "acme.toml"
    path.write_bytes(b"name = 'a\xff'")
    with pytest.raises(venues.VenueError, match="not UTF-8 at byte 9"):
        venues.load(path)


def test_an_unknown_name_suggests_one():
    with pytest.raises(venues.VenueError, match=r"no venue 'binance-spto', did you mean 'binance-spot'\? \(built in: "):
        venues.load("binance-spto")


def test_inheriting_an_unknown_name_tells_the_file(write):
    path = write('name = "a"\ninherits = "binance-spto"\n')
    with pytest.raises(venues.VenueError) as caught:
        venues.load(path)
    assert str(caught.value).startswith(f"{path}: inherits: no venue 'binance-spto', did you mean 'binance-spot'?")


# ---- MARK: Built-in venues ----


@pytest.mark.parametrize("name", venues.names())
def test_built_in(name):
    venue = venues.load(name)
    assert venue.name == name
    assert venue.events
    assert venue.title
    assert venue.checked is not None
    assert all(url.startswith("https://") for url in venue.docs)
    assert venues.load(name) is venue


def test_names():
    folder = Path(venues.__file__).parent / "dialects"
    assert list(venues.names()) == sorted(path.stem for path in folder.glob("*.toml"))


def test_a_user_file_on_top_of_a_built_in(write):
    venue = venues.load(write('name = "mine"\ninherits = "binance-spot"\n[enums.side]\nB = "buy"\n'))
    parent = venues.load("binance-spot")
    assert venue.events == parent.events
    assert venue.enums["side"] == {**parent.enums["side"], "B": "buy"}
