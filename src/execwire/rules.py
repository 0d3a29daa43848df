"""Session rules: the ``[session]`` section of a venue's file, checked.

What a session of a venue does, in data: where it connects, what it sends in which order, what it expects back, what
keeps it alive, which limits hold, and what an error of the venue means. :mod:`execwire.sessions` acts on it and knows
no venue itself.

Notes
-----
Texts and tables that are sent are templates. ``{name}`` in them is filled in: ``id`` (of the request, a number),
``ms`` and ``seconds`` (the venue's time as far as it is known; ``ms_text``, ``seconds_text`` as texts), ``api_key``,
``passphrase``, ``listen_key`` (what ``[session.key]`` fetched), ``signature``, ``channels``, ``subscription_id``,
``url`` and ``rest_url``, any name of ``[session.options]``, and ``ping`` in an answer. A text that is one name alone
becomes its value, with its type.

``[session.variant.NAME]`` holds what differs in a variant: another product, endpoint form or way to log in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "ACTIONS",
    "Backoff",
    "Call",
    "Channels",
    "Clock",
    "Heartbeat",
    "Key",
    "Request",
    "Rules",
    "RulesError",
    "Step",
    "merge",
    "parse",
]

#: What an error of the venue means for the session: end it; try again later; try again after the venue's own delay
#: or a long one; set the clock and try again; fetch a new key and connect again; leave out what was asked for.
ACTIONS = ("fatal", "retry", "wait", "clock", "new_key", "skip")

CREDENTIALS = ("signing", "api_key")
STATES = ("authenticating", "subscribing")
ANSWERS = ("welcome", "login_ok", "subscribed", "unsubscribed", "response", "listen_key")
_NAMES = "id ms ms_text seconds seconds_text api_key passphrase listen_key signature channels subscription_id ping"
NAMES = frozenset((*re.findall(r"\w+", _NAMES), "url", "rest_url"))


class RulesError(ValueError):
    """A section that does not describe a session.

    Attributes
    ----------
    at : str
        Where in the section, dotted.
    message : str
    """

    def __init__(self, at: str, message: str) -> None:
        super().__init__(f"{at}: {message}" if at else message)
        self.at = at
        self.message = message


@dataclass(frozen=True)
class Call:
    """A request over HTTP. `sign` is what is signed: ``query`` (the query string as sent) or nothing."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    sign: str = ""


@dataclass(frozen=True)
class Key:
    """A listen key or token: how it is fetched, renewed and given back.

    Attributes
    ----------
    value, expires : str
        Paths in the answer: the key; when it expires, in ms (if it says so).
    lifetime : float
        Seconds that it lives without being renewed.
    every : float
        Seconds between renewals.
    """

    create: Call
    renew: Call | None = None
    delete: Call | None = None
    value: str = "listenKey"
    expires: str = ""
    lifetime: float = 3600.0
    every: float = 1800.0


@dataclass(frozen=True)
class Step:
    """A request on the way to a live stream, or with `send` None only the wait for a notice.

    Attributes
    ----------
    sign : str
        ``params`` (the frame's ``params``, sorted by name), or a template of the text that is signed.
    expect : tuple of str
        Codes of the notices that answer it.
    each : str
        ``account``: once for every account; ``channels``: with as many channels as a frame may hold, and one answer
        for every channel; else once.
    id_path, expires : str
        Paths in the answer: the subscription's id; when it expires, in ms.
    """

    state: str
    send: Any = None
    sign: str = ""
    encoding: str | None = None
    expect: tuple[str, ...] = ()
    each: str = ""
    id_path: str = ""
    expires: str = ""


@dataclass(frozen=True)
class Request:
    """A frame that users may have sent by name, with ``params`` of theirs.

    Attributes
    ----------
    secret : str
        The path in the answer of a key that must not be recorded.
    ends : bool
        It ends subscriptions, which are not asked for again then.
    """

    send: Any
    sign: str = ""
    encoding: str | None = None
    expect: tuple[str, ...] = ()
    secret: str = ""
    ends: bool = False


@dataclass(frozen=True)
class Heartbeat:
    """`send` every `every` seconds (a ping frame if it is None); `within` seconds later something has to be there."""

    every: float
    send: Any = None
    within: float = 0.0


@dataclass(frozen=True)
class Channels:
    """How a channel is written: ``keys`` joined by ``/``, with `defaults`, and other keys where `rename` says so.

    ``rename`` is by the value of the key `by`: ``{account = {instId = "coin"}}``.
    """

    keys: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    by: str = ""
    rename: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    all: tuple[str, ...] = ()

    def read(self, text: str) -> dict[str, str]:
        """A channel written as text.

        Raises
        ------
        ValueError
            If it has too many or too few parts.
        """
        parts = text.split("/")
        values = {**self.defaults, **dict(zip(self.keys, parts, strict=False))}
        if len(parts) > len(self.keys) or "" in parts or not values.keys() >= set(self.keys):
            raise ValueError(f"channel {text!r} is not of the form {'/'.join(self.keys)}")
        names = self.rename.get(values.get(self.by, ""), {})
        return {names.get(key, key): values[key] for key in self.keys if names.get(key, key)}


@dataclass(frozen=True)
class Clock:
    """Where the venue's time is asked for, and the path of the ms in its answer."""

    call: Call
    value: str


@dataclass(frozen=True)
class Backoff:
    """Seconds before the first new attempt, the factor from one to the next, the longest; `jitter`: part at random."""

    first: float = 0.5
    factor: float = 2.0
    longest: float = 60.0
    jitter: float = 0.5


@dataclass(frozen=True)
class Rules:
    """What a session does.

    Attributes
    ----------
    url, rest_url : str
        Where; `path` is added to the first (a template).
    headers, query : mapping
        Of the upgrade request.
    env : str
        Prefix of the environment variables with the credentials.
    credentials : str
        ``signing``: a key that signs; ``api_key``: nothing but the key or token itself.
    timeout : float
        Seconds that a step may take.
    lifetime, lead : float
        Seconds that a connection lives; how long before its end the next one is opened.
    overlap : bool
        Whether two connections of one account may live side by side.
    multiplexed : bool
        Whether one connection carries several accounts.
    silence : float
        Seconds without any frame after which a connection counts as dead.
    subscriptions, lifetime_subscriptions : int
        Per connection: at a time, in all; 0: no limit known.
    messages_per_second, frame_bytes : int
        What may be sent, 0: no limit known.
    rate_limits : str
        Path of the used rate limits in an answer.
    errors, statuses : mapping
        The venue's code, or a status of HTTP or of an answer, to one of `ACTIONS`.
    """

    url: str = ""
    rest_url: str = ""
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    env: str = "EXECWIRE"
    credentials: str = "signing"
    timeout: float = 10.0
    lifetime: float = 0.0
    lead: float = 300.0
    overlap: bool = True
    multiplexed: bool = False
    silence: float = 0.0
    subscriptions: int = 0
    lifetime_subscriptions: int = 0
    messages_per_second: int = 0
    frame_bytes: int = 0
    rate_limits: str = ""
    status_path: str = ""
    retry_after: str = ""
    key: Key | None = None
    steps: tuple[Step, ...] = ()
    unsubscribe: Request | None = None
    requests: Mapping[str, Request] = field(default_factory=dict)
    heartbeat: Heartbeat | None = None
    answer: Any = None
    channels: Channels | None = None
    clock: Clock | None = None
    backoff: Backoff = field(default_factory=Backoff)
    errors: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()


# ---- MARK: Checking ----


def _fail(at: str, message: str) -> NoReturn:
    raise RulesError(at, message)


def _text(value: object, at: str) -> str:
    if not isinstance(value, str):
        _fail(at, f"must be a text, not {value!r}")
    return value


def _word(words: Sequence[str]) -> Callable[[object, str], str]:
    def check(value: object, at: str) -> str:
        if value not in words:
            _fail(at, f"must be one of {', '.join(words)}, not {value!r}")
        return str(value)

    return check


def _words(words: Sequence[str]) -> Callable[[object, str], tuple[str, ...]]:
    one = _word(words)
    return lambda value, at: tuple(one(item, at) for item in (value if isinstance(value, list) else [value]))


def _url(value: object, at: str) -> str:
    text = _text(value, at)
    if not re.match(r"(wss?|https?)://[^/]+", text):
        _fail(at, f"must be a URL, not {text!r}")
    return text.rstrip("/")


def _flag(value: object, at: str) -> bool:
    if not isinstance(value, bool):
        _fail(at, f"must be true or false, not {value!r}")
    return value


def _seconds(value: object, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        _fail(at, f"must be a number of seconds, not {value!r}")
    return float(value)


def _count(value: object, at: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _fail(at, f"must be a count, not {value!r}")
    return value


def _table(value: object, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _fail(at, f"must be a table, not {value!r}")
    return value


def _texts(value: object, at: str) -> dict[str, str]:
    return {key: _text(item, f"{at}.{key}") for key, item in _table(value, at).items()}


def _list(value: object, at: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        _fail(at, f"must be a list of texts, not {value!r}")
    return tuple(_text(item, at) for item in value)


def _actions(value: object, at: str) -> dict[str, str]:
    return {key: _word(ACTIONS)(item, f"{at}.{key}") for key, item in _table(value, at).items()}


def _any(value: object, _at: str) -> object:
    return value


def _read(value: object, at: str, checks: Mapping[str, Callable[[Any, str], Any]], needs: Iterable[str] = ()) -> Any:
    table = _table(value, at)
    for key in table:
        if key not in checks:
            _fail(at, f"unknown key {key!r} (known: {', '.join(sorted(checks))})")
    for key in needs:
        if key not in table:
            _fail(at, f"needs {key}")
    return {key: checks[key](item, f"{at}.{key}" if at else key) for key, item in table.items()}


def _call(value: object, at: str) -> Call:
    checks = {
        "method": _word(("GET", "POST", "PUT", "DELETE")), "path": _text, "headers": _texts, "params": _table,
        "sign": _word(("query",)),
    }  # fmt: skip
    return Call(**_read(value, at, checks, ("method", "path")))


def _key(value: object, at: str) -> Key:
    checks = {
        "create": _call, "renew": _call, "delete": _call, "value": _text, "expires": _text, "lifetime": _seconds,
        "every": _seconds,
    }  # fmt: skip
    return Key(**_read(value, at, checks, ("create",)))


_FRAME = {"send": _any, "sign": _text, "encoding": _word(("hex", "base64")), "expect": _words(ANSWERS)}


def _steps(value: object, at: str) -> tuple[Step, ...]:
    if not isinstance(value, list):
        _fail(at, "must be an array of tables: [[session.step]]")
    checks = {
        **_FRAME, "state": _word(STATES), "each": _word(("account", "channels")), "id_path": _text, "expires": _text,
    }  # fmt: skip
    steps = tuple(Step(**_read(one, f"{at} {n}", checks, ("state", "expect"))) for n, one in enumerate(value, 1))
    for n, step in enumerate(steps, 1):
        if (step.each == "channels") != ("{channels}" in str(step.send)):
            _fail(f"{at} {n}", "each = 'channels' and {channels} in send go together")
    return steps


def _request(value: object, at: str) -> Request:
    return Request(**_read(value, at, {**_FRAME, "secret": _text, "ends": _flag}, ("send", "expect")))


def _requests(value: object, at: str) -> dict[str, Request]:
    return {name: _request(one, f"{at}.{name}") for name, one in _table(value, at).items()}


def _heartbeat(value: object, at: str) -> Heartbeat:
    beat = Heartbeat(**_read(value, at, {"every": _seconds, "send": _any, "within": _seconds}, ("every",)))
    if not beat.every:
        _fail(at, "every must be above 0")
    return beat


def _channels(value: object, at: str) -> Channels:
    def rename(tables: object, here: str) -> dict[str, dict[str, str]]:
        return {key: _texts(names, f"{here}.{key}") for key, names in _table(tables, here).items()}

    checks = {"keys": _list, "defaults": _texts, "by": _text, "rename": rename, "all": _list}
    channels = Channels(**_read(value, at, checks, ("keys",)))
    for text in channels.all:
        try:
            channels.read(text)
        except ValueError as error:
            _fail(f"{at}.all", str(error))
    return channels


def _clock(value: object, at: str) -> Clock:
    table = _read(value, at, {"path": _text, "value": _text}, ("path", "value"))
    return Clock(Call("GET", table["path"]), table["value"])


def _backoff(value: object, at: str) -> Backoff:
    checks = {"first": _seconds, "factor": _seconds, "longest": _seconds, "jitter": _seconds}
    backoff = Backoff(**_read(value, at, checks))
    if backoff.factor < 1 or backoff.jitter > 1:
        _fail(at, "factor must be at least 1, jitter at most 1")
    return backoff


CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "url": _url, "rest_url": _url, "path": _text, "headers": _texts, "query": _texts, "options": _table, "env": _text,
    "credentials": _word(CREDENTIALS), "timeout": _seconds, "lifetime": _seconds, "lead": _seconds, "overlap": _flag,
    "multiplexed": _flag, "silence": _seconds, "subscriptions": _count, "lifetime_subscriptions": _count,
    "messages_per_second": _count, "frame_bytes": _count, "rate_limits": _text, "status_path": _text,
    "retry_after": _text, "key": _key, "step": _steps, "unsubscribe": _request, "requests": _requests,
    "heartbeat": _heartbeat, "answer": _any, "channels": _channels, "clock": _clock, "backoff": _backoff,
    "errors": _actions, "statuses": _actions,
}  # fmt: skip


def _names_in(value: object) -> set[str]:
    if isinstance(value, str):
        return set(re.findall(r"\{([a-z_]+)\}", value))
    if isinstance(value, dict):
        return set().union(*map(_names_in, value), *map(_names_in, value.values()))
    return set().union(*map(_names_in, value)) if isinstance(value, list) else set()


def merge(child: Mapping[str, Any], parent: Mapping[str, Any]) -> dict[str, Any]:
    """One table on top of another, key by key."""
    merged = dict(parent)
    for key, value in child.items():
        old = merged.get(key)
        merged[key] = merge(value, old) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def parse(session: Mapping[str, Any], variants: Sequence[str] = ()) -> Rules:
    """Check a section.

    Parameters
    ----------
    session : mapping
        The ``[session]`` section.
    variants : sequence of str
        Which of its variants, the later ones on top.

    Raises
    ------
    RulesError
        If it holds something unknown or of the wrong type, or lacks the variant.
    """
    base = {key: value for key, value in session.items() if key != "variant"}
    known = _table(session.get("variant", {}), "variant")
    at = ""
    for name in variants:
        if name not in known:
            _fail("variant", f"there is no {name!r} (there are: {', '.join(known) or 'none'})")
        base = merge(_table(known[name], f"variant.{name}"), base)
        at = f"variant.{name}"
    table = _read(base, at, CHECKS)
    if "step" in table:
        table["steps"] = table.pop("step")
    rules = Rules(**table, variants=tuple(known))
    for name in sorted(_names_in(dict(base)) - NAMES - set(rules.options)):
        _fail(at, f"unknown name {{{name}}} in a template")
    if "{listen_key}" in rules.path and rules.key is None:
        _fail(at, "path holds {listen_key}, but there is no key to fetch")
    return rules


def check(session: Mapping[str, Any]) -> None:
    """Check a section and each of its variants."""
    parse(session)
    for name in session.get("variant", {}):
        parse(session, (name,))
