"""The C core against the reference, and a trained decoder against a fresh one, on payloads nobody has written.

They are made from those of tests/payloads by mutations. EXECWIRE_EXAMPLES=100000 in the environment runs each test for
that many examples, at random instead of always the same.
"""

from __future__ import annotations

import copy
import functools
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from cases import (
    VENUES,
    Case,
    Number,
    Object,
    Style,
    cases,
    expected_outcome,
    fresh,
    outcome,
    read,
    reordered,
    spans,
)  # fmt: skip
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import execwire
from execwire import core, venues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = int(os.environ.get("EXECWIRE_EXAMPLES", "0"))


def examples(default: int) -> settings:
    return settings(
        max_examples=EXAMPLES or default,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


# ---- MARK: What to put in ----

NUMBERS = [
    "0", "-0", "1", "7", "-1", "-0.00000000", "0.00", "0.00000001", "1.5000", "123456.789", "-24.50", "1E-8", "1e+5",
    "1E5", "0e0", "-0E-20", "1e999", "1e1000", "1E-999", "1e-1000", "1.5e-998", "1.5e-999", "12e99999999999",
    "65535", "65536", "99999999999", "100000000000", "1795031512004", "1795031512004117", "1795031512004117123",
    "-1795031512004", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "18446744073709551615", "18446744073709551616", "20631148502135201234", "12345678901234567890123.4567890123456789",
    "1.2345678901234567890123", "-1234567890123.1234567890", "1234567890123456789012345678",
    "0.1234567890123456789012345678", "12345678901234567890123456789", "1.2345678901234567890123456789",
    "39614081257132168796771975167", "39614081257132168796771975168", "-39614081257132168796771975167",
    "-39614081257132168796771975168", "0.39614081257132168796771975167", "79228162514264337593543950336",
    "0." + "0" * 40 + "1", "0" + "." + "0" * 30, "1" + "0" * 28, "1" + "0" * 60, "0." + "0" * 39 + "1",
]  # fmt: skip
TEXTS = [
    "", " ", "00", "01", "007", "1.", ".5", "-", "+1", "1e", "1E+", "--1", "0x10", "1,5", "1_000", "NaN", "Infinity",
    " 1", "1 ", "-01", "-0.", "null", "true", "false", "TRUE", "BUY", "buy", "Buy", "SOMETHING_NEW", "something new",
    "T", "F", "yes", "x" * 14, "x" * 15, "x" * 16, "y" * 30, "y" * 31, "y" * 32, "z" * 37, "z" * 38, "z" * 39,
    "w" * 126, "w" * 127, "w" * 128, "w" * 1000, "币安" * 2 + "x" * 3, "币安人生", "币" * 5, "x" + "币" * 5, "币" * 10,
    "y" + "币" * 10, "币" * 12, "zz" + "币" * 12, "币" * 13, "币" * 42, "w" + "币" * 42, "币" * 43, "é" * 8, "😀" * 4,
    "xxx😀xxxxxxxx😀", "\u0130", "\u017fELL", "\uff22UY", 'a"b\\c/d', "\n\t\r\b\f\x00\x1f\x7f", "\ufeff", "\u2028",
    "7c2e4a10-9f1b-4f7e-8a55-0d3c2b1a9f00", "//", "// x", "{", "[]", "18446744073709551615", "018446744073709551615",
]  # fmt: skip
CONTAINERS: list[Any] = [
    [], Object(), [[]], [None], [Object()], Object([("", "")]), Object([("x", Object([("y", [Number("1")])]))]),
    [Number("1.0"), "x", True], [Object([("e", "x"), ("fee", "0.1")]), Number("3")], [[[Object([("a", None)])]]],
]  # fmt: skip
KEYS = [
    "new",
    "",
    "x",
    "0",
    "1",
    "envelope",
    "_envelope",
    "extra",
    "a.b",
    "/E",
    "//",
    "键",
    "\u0000",
    "k" * 300,
    "e ",
    "E\t",
]


@functools.cache
def vocabulary(venue: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys and the texts that a venue's dialect mentions."""
    dialect = venues.load(venue)
    paths = [path for envelope in dialect.envelopes for path in envelope.known]
    keys = {key for envelope in dialect.envelopes for key in (envelope.enter, *envelope.when)}
    texts = {text for words in dialect.enums.values() for text in words} | {prompt.text for prompt in dialect.prompts}
    for event in dialect.events:
        texts.add(event.name)
        paths += event.known
        for condition in event.when:
            paths.append(condition.path)
            texts.update(condition.texts)
        for emit in event.emits:
            paths += [emit.rows, *emit.known]
            paths += [path for alternatives in emit.fields.values() for path in alternatives]
    keys.update(str(step) for path in paths for step in path.steps)
    return tuple(sorted(keys)), tuple(sorted(texts))


# ---- MARK: Mutations ----


class Mutator:
    """Changes a payload in place, as a generator of random numbers tells."""

    def __init__(self, venue: str, root: Any, seed: int) -> None:
        self.venue = venue
        self.root = root
        self.random = random.Random(seed)
        self.containers = list(containers(root))

    def pick(self, kind: type[list[Any]] = list) -> list[Any] | None:
        """A container that is not empty."""
        found = [container for container in self.containers if container and isinstance(container, kind)]
        return self.random.choice(found) if found else None

    def scalar(self) -> Any:
        number = self.random.choice(NUMBERS)
        word = self.random.choice(vocabulary(self.venue)[1])
        return self.random.choice(
            (Number(number), number, word, self.random.choice(TEXTS), "", None, True, False, Number("1"), "0")
        )

    def value(self) -> Any:
        if self.random.random() < 0.85:
            return self.scalar()
        return copy.deepcopy(self.random.choice(CONTAINERS))

    def key(self) -> str:
        return self.random.choice((*KEYS, *vocabulary(self.venue)[0], *vocabulary(self.venue)[0]))

    def put(self, container: list[Any], index: int, value: Any) -> None:
        container[index] = (container[index][0], value) if isinstance(container, Object) else value

    # The mutations.

    def replace(self) -> None:
        """A value by another one."""
        if (container := self.pick()) is not None:
            self.put(container, self.random.randrange(len(container)), self.value())

    def requote(self) -> None:
        """A number by a text, or a text by a number."""
        quoted = [
            (container, index, value)
            for container in self.containers
            for index, value in enumerate(values(container))
            if isinstance(value, Number) or (isinstance(value, str) and value in [*NUMBERS, "17", "0.5"])
        ]
        if quoted:
            container, index, value = self.random.choice(quoted)
            self.put(container, index, str(value) if isinstance(value, Number) else Number(value))

    def add(self) -> None:
        """A member, known or not."""
        if self.containers:
            container = self.random.choice(self.containers)
            new = (self.key(), self.value()) if isinstance(container, Object) else self.value()
            container.insert(self.random.randint(0, len(container)), new)

    def remove(self) -> None:
        """A member."""
        if (container := self.pick()) is not None:
            del container[self.random.randrange(len(container))]

    def rename(self) -> None:
        """A key."""
        if (container := self.pick(Object)) is not None:
            index = self.random.randrange(len(container))
            container[index] = (self.key(), container[index][1])

    def repeat(self) -> None:
        """A key, or an element, somewhere else and perhaps with another value."""
        if (container := self.pick()) is not None:
            item = copy.deepcopy(self.random.choice(container))
            if isinstance(container, Object) and self.random.random() < 0.7:
                item = (item[0], self.value())
            container.insert(self.random.randint(0, len(container)), item)

    def exchange(self) -> None:
        """A value by one of another key."""
        a, b = self.pick(), self.pick()
        if a is not None and b is not None:
            value = copy.deepcopy(self.random.choice(list(values(b))))
            self.put(a, self.random.randrange(len(a)), value)

    def reorder(self) -> None:
        """The members of one object."""
        if (container := self.pick(Object)) is not None:
            self.random.shuffle(container)

    def reorder_all(self) -> None:
        """The members of every object."""
        self.root = reordered(self.root, self.random)

    def lift(self) -> None:
        """An array instead of its element, or the other way round."""
        if (container := self.pick()) is not None:
            index = self.random.randrange(len(container))
            value = list(values(container))[index]
            if isinstance(value, list) and not isinstance(value, Object) and value:
                self.put(container, index, value[0])
            else:
                self.put(container, index, [value] if self.random.random() < 0.7 else [value, copy.deepcopy(value)])

    def wrap(self) -> None:
        """All of it in an envelope of the venue, perhaps in another one."""
        envelopes = venues.load(self.venue).envelopes
        if not envelopes:
            return
        envelope = self.random.choice(envelopes)
        members = [(key, self.value()) for key in envelope.when]
        members += [(key, self.value()) for key in (self.key(),) if self.random.random() < 0.3]
        members += [
            (str(path.steps[0]), self.value())
            for path in (*envelope.known, *(path for paths in envelope.fields.values() for path in paths))
            if self.random.random() < 0.5
        ]
        members.insert(self.random.randint(0, len(members)), (envelope.enter, self.root))
        self.root = Object(members)

    def unwrap(self) -> None:
        """The value of a member instead of it all."""
        if isinstance(self.root, Object):
            inner = [value for _, value in self.root if isinstance(value, list)]
            self.root = self.random.choice(inner) if inner else self.root

    def join(self) -> None:
        """Together with another payload of the venue, in an array."""
        other = read(self.random.choice(cases(self.venue)).payload)
        if other is not ...:
            both = [item for root in (self.root, other) for item in (root if type(root) is list else [root])]
            self.random.shuffle(both)
            self.root = both


MUTATIONS: list[Callable[[Mutator], None]] = [
    Mutator.replace, Mutator.replace, Mutator.replace, Mutator.requote, Mutator.add, Mutator.remove, Mutator.rename,
    Mutator.repeat, Mutator.exchange, Mutator.reorder, Mutator.reorder_all, Mutator.lift, Mutator.wrap, Mutator.unwrap,
    Mutator.join,
]  # fmt: skip


def containers(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list):
        yield value
        for item in values(value):
            yield from containers(item)


def values(container: list[Any]) -> Iterator[Any]:
    return (item[1] if isinstance(container, Object) else item for item in container)


@functools.cache
def roots() -> list[tuple[Case, Any]]:
    """Every payload that is JSON, and what it says."""
    return [(case, root) for case in cases() if (root := read(case.payload)) is not ...]


def mutated(venue: str, root: Any, steps: list[tuple[Callable[[Mutator], None], int]]) -> Any:
    root = copy.deepcopy(root)
    for mutation, seed in steps:
        mutator = Mutator(venue, root, seed)
        mutation(mutator)
        root = mutator.root
    return root


def alike(root: Any, rng: random.Random) -> Any:
    """The same message with other numbers: what a venue sends next."""
    if isinstance(root, Object):
        return Object((key, alike(value, rng)) for key, value in root)
    if isinstance(root, list):
        return [alike(item, rng) for item in root]
    if isinstance(root, str) and root.isascii() and root.isdigit() and rng.random() < 0.7:
        digits = str(rng.randrange(10 ** rng.randint(1, len(root))))
        return type(root)(root[: len(root) - len(digits)] + digits if root[0] != "0" or len(root) == 1 else digits)
    return root


def trainee(venue: str, root: Any, rng: random.Random) -> execwire.Decoder:
    """A decoder that has seen many messages like this one."""
    decoder = execwire.Decoder(venue) if rng.random() < 0.5 else fresh(venue)
    write = Style("usual" if rng.random() < 0.1 else "none").write
    payload = write(root)
    for _ in range(12):
        decoder.decode_into(payload)
    for _ in range(6):
        other = alike(root, rng)
        if rng.random() < 0.4:
            step = rng.choice(MUTATIONS)
            other = mutated(venue, other, [(step, rng.randrange(2**32))])
        payload = write(other)
        for _ in range(4):
            outcome(decoder, payload)
    return decoder


# ---- MARK: Comparing ----


def details(records: list[execwire.Record]) -> list[Any]:
    """What the records hold, beyond what dicts show."""
    return [
        (record.kind, name, record.state(name), record.unscaled(name) if type_ == "decimal" else record.number(name))
        for record in records
        for name, type_ in numeric(record.kind)
    ]


@functools.cache
def numeric(kind: str) -> list[tuple[str, str]]:
    return [(field.name, field.type) for field in core.fields(kind) if field.type in ("decimal", "id")]


def compare(venue: str, payload: bytes, trained: execwire.Decoder | None = None) -> None:
    note(f"{venue}: {payload!r}")
    expected = expected_outcome(venue, payload)
    decoder = fresh(venue)
    assert outcome(decoder, payload) == expected
    if trained is None:
        return
    for _ in range(3):  # the second time it may have learned from the first
        before = trained.stats
        assert outcome(trained, payload) == expected
        after = trained.stats
        assert [b - a for a, b in zip(before, after, strict=True)] == list(decoder.stats)
        assert list(trained.records) == list(decoder.records)
        assert spans(trained.records) == spans(decoder.records)
        assert details(list(trained.records)) == details(list(decoder.records))


# ---- MARK: Tests ----

SEEDS = st.integers(0, 2**32 - 1)
STEPS = st.lists(st.tuples(st.sampled_from(MUTATIONS), SEEDS), max_size=6)
STYLES = st.builds(
    Style,
    st.sampled_from(["none", "none", "none", "usual", "indent", "comments", "random"]),
    st.sampled_from(["none", "none", "none", "random", "all"]),
    SEEDS,
)
ROOTS = st.deferred(lambda: st.sampled_from(roots()))


@examples(1000)
@given(ROOTS, STEPS, STYLES)
def test_mutated(case_root: tuple[Case, Any], steps: list[Any], style: Style) -> None:
    case, root = case_root
    compare(case.venue, style.write(mutated(case.venue, root, steps)))


@examples(400)
@given(ROOTS, STEPS, STYLES, SEEDS)
def test_trained(case_root: tuple[Case, Any], steps: list[Any], style: Style, seed: int) -> None:
    case, root = case_root
    trained = trainee(case.venue, root, random.Random(seed))
    compare(case.venue, style.write(mutated(case.venue, root, steps)), trained)


BYTES = b'"\\{}[],:.-+eE019/tfn \n\x00\x1f\x7f\x80\xbf\xc3\xe5\xed\xf0\xff\xef\xbb\xbf\xa0u'


def damaged(payload: bytes, rng: random.Random) -> bytes:
    """Cut, or with bytes changed, put in, left out or moved."""
    at = rng.randint(0, len(payload))
    to = min(len(payload), at + rng.choice((1, 1, 1, 2, 5, 20)))
    some = bytes([rng.choice(BYTES) if rng.random() < 0.8 else rng.randrange(256)])
    return rng.choice((
        payload[:at],
        payload[:at] + some + payload[to:],
        payload[:at] + some + payload[at + 1 :],
        payload[:at] + some + payload[at:],
        payload[:at] + payload[to:],
        payload[:at] + payload[at:to] + payload[at:],
        payload + payload[at:to],
    ))  # fmt: skip


@examples(1000)
@given(ROOTS, st.lists(SEEDS, min_size=1, max_size=3), SEEDS)
def test_damaged(case_root: tuple[Case, Any], seeds: list[int], seed: int) -> None:
    case, root = case_root
    rng = random.Random(seed)
    payload = Style(rng.choice(("none", "none", "usual", "random")), rng.choice(("none", "none", "random"))).write(root)
    for seed in seeds:
        payload = damaged(payload, random.Random(seed))
    trained = trainee(case.venue, root, rng) if seed % 4 == 0 else None
    compare(case.venue, payload, trained)


def seams(payload: bytes) -> list[tuple[int, bytes]]:
    """Where a payload can be cut between tokens, and the brackets that are open there."""
    found, stack, quoted, skip = [], b"", False, False
    for at, byte in enumerate(payload):
        character = bytes([byte])
        if skip:
            skip = False
        elif quoted:
            skip, quoted = character == b"\\", character != b'"'
        elif character in b",:[]{}":
            if character in b"[{":
                stack += character
            elif character in b"]}":
                stack = stack[:-1]
            found.append((at + 1, stack + character))
        else:
            quoted = character == b'"'
    return found


def crossed(a: bytes, b: bytes, rng: random.Random) -> bytes:
    """The beginning of one and the end of the other, usually such that they fit."""
    i, there = rng.choice(seams(a) or [(0, b"")])
    fitting = [j for j, here in seams(b) if here == there or rng.random() < 0.02]
    return a[:i] + b[rng.choice(fitting) if fitting else 0 :]


FEW = st.lists(st.tuples(st.sampled_from(MUTATIONS), SEEDS), max_size=2)


@examples(300)
@given(ROOTS, st.lists(FEW, min_size=1, max_size=4), SEEDS)
def test_crossed(case_root: tuple[Case, Any], family: list[list[Any]], seed: int) -> None:
    """Learned from some messages, it meets others that are made of their parts."""
    case, root = case_root
    rng = random.Random(seed)
    payloads = [
        Style().write(mutated(case.venue, alike(root, rng) if rng.random() < 0.7 else root, steps))
        for steps in ([], *family)
    ]
    trained = fresh(case.venue)
    for _ in range(3):
        for payload in payloads:
            for _ in range(3):
                outcome(trained, payload)
    for _ in range(8):
        payload = crossed(rng.choice(payloads), rng.choice(payloads), rng)
        compare(case.venue, payload, trained)
        payloads[rng.randrange(len(payloads))] = payload


@pytest.mark.parametrize("venue", VENUES)
def test_one_decoder_for_everything(venue: str) -> None:
    """It learns all the time, forgets, learns again, and says what a fresh one says."""
    rng = random.Random(None if EXAMPLES else 1)
    decoder = fresh(venue)
    mine = [root for case, root in roots() if case.venue == venue]
    for _ in range(max(EXAMPLES // 10, 40)):
        root = rng.choice(mine)
        for _ in range(rng.choice((1, 4, 12))):
            steps = [(rng.choice(MUTATIONS), rng.randrange(2**32)) for _ in range(rng.choice((0, 0, 1, 2)))]
            payload = Style("random" if rng.random() < 0.02 else "none").write(mutated(venue, alike(root, rng), steps))
            for _ in range(rng.choice((1, 2))):
                assert outcome(decoder, payload) == outcome(fresh(venue), payload), payload
