"""What a session sends: frames, addresses and calls over HTTP, from the templates of a venue's rules, signed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

import orjson

from execwire.auth import pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from execwire.rules import Call, Request, Rules, Step

__all__ = ["Frames", "Identity", "at", "filled", "parsed"]

MICROSECONDS = 10**14  # a time from here on is in µs, as the decoder has it too


class Identity(Protocol):
    """What a session needs of credentials: `execwire.auth.Credentials`, or just a key."""

    api_key: str

    @property
    def passphrase(self) -> str:
        """What some venues have beside the key."""

    def sign(self, payload: str | bytes, encoding: Any = None) -> str:
        """Sign a text."""


class Frames:
    """Fills in what a venue's rules say.

    Parameters
    ----------
    rules : execwire.rules.Rules
    url, rest_url : str or None
        Instead of the venue's. A `url` without a path gets the venue's; one that ends with a slash, the listen key.
    query, options : mapping or None
        More of the URL's query; instead of those of ``[session.options]``.
    wall : callable
        The time as ns since 1970.

    Attributes
    ----------
    clock_offset : int
        ms that the venue's clock is ahead.
    used : tuple of str
        The last signatures, and other secrets that only go over the wire once.
    n_used : int
        How many there have been.
    """

    __slots__ = ("_options", "_query", "_rest_url", "_rules", "_url", "_wall", "clock_offset", "n_used", "used")

    def __init__(
        self, rules: Rules, url: str | None, rest_url: str | None, query: Mapping[str, str] | None,
        options: Mapping[str, Any] | None, wall: Callable[[], int],
    ) -> None:  # fmt: skip
        self._rules = rules
        self._url = url
        self._rest_url = rest_url or rules.rest_url
        self._query = {**rules.query, **query} if query else rules.query
        self._options = {**rules.options, **options} if options else rules.options
        self._wall = wall
        self.clock_offset = 0
        self.used: tuple[str, ...] = ()
        self.n_used = 0

    def values(self, identity: Identity | None, listen_key: str | None, **more: Any) -> dict[str, Any]:
        """What names in templates mean; a passphrase only if there is one."""
        ms = self._wall() // 1_000_000 + self.clock_offset
        values = {
            **self._options, "ms": ms, "ms_text": str(ms), "seconds": ms // 1000, "seconds_text": str(ms // 1000),
            "url": self._url or self._rules.url, "rest_url": self._rest_url, **more,
        }  # fmt: skip
        if identity is not None:
            values["api_key"] = identity.api_key
            values["identity"] = identity
        if listen_key is not None:
            values["listen_key"] = listen_key
        return values

    def until(self, when: Any) -> float:
        """Seconds until a time of the venue (ms or µs since 1970); 0 if it is over, or none."""
        if not isinstance(when, int):
            return 0.0
        seconds = when / (1e6 if when >= MICROSECONDS else 1e3)
        return max(seconds - self._wall() / 1e9 - self.clock_offset / 1e3, 0.0)

    # ---- MARK: Addresses ----

    @property
    def names_key(self) -> bool:
        """Whether the listen key stands in the URL."""
        return "{listen_key}" in self._path()

    def _path(self) -> str:
        parts = urlsplit(self._url or "")
        if self._url and parts.path not in ("", "/"):
            path = self._url[self._url.index("//") + 2 + len(parts.netloc) :]
            return path + "{listen_key}" if path.endswith("/") and "{listen_key}" in self._rules.path else path
        return self._rules.path

    def address(self, values: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        """URL and headers of a connection."""
        base = self._url or self._rules.url
        base = base[: base.index("//") + 2] + urlsplit(base).netloc
        path = str(filled(self._path(), values))
        query = "&".join(f"{name}={quote(str(value), safe='/:,')}" for name, value in self._query.items())
        return base + path + (("&" if "?" in path else "?") + query if query else ""), filled(
            self._rules.headers, values
        )

    # ---- MARK: Requests ----

    def frame(self, what: Step | Request, values: dict[str, Any], params: Mapping[str, Any] | None = None) -> bytes:
        """The frame of a request, with parameters of the user's.

        Raises
        ------
        Exception
            Whatever a signer raises.
        """
        frame = filled(what.send, values)
        if params is not None:
            frame = {**frame, "params": {**(frame.get("params") or {}), **params}}
        if what.sign == "params":
            signed = {name: value for name, value in frame["params"].items() if value != "{signature}"}
            frame = filled(frame, {"signature": self._signature(values, pairs(signed, order=True), what.encoding)})
        elif what.sign:
            frame = filled(frame, {"signature": self._signature(values, str(filled(what.sign, values)), what.encoding)})
        return orjson.dumps(frame) if not isinstance(frame, str) else frame.encode()

    def call(self, call: Call, values: dict[str, Any]) -> tuple[str, dict[str, str]]:
        """URL and headers of a request over HTTP; raises as `frame` does."""
        query = pairs(filled(call.params, values), encode=True)
        if call.sign == "query":
            query += f"&signature={quote(self._signature(values, query), safe='')}"
        url = f"{self._rest_url}{filled(call.path, values)}" + (f"?{query}" if query else "")
        return url, filled(call.headers, values)

    def _signature(self, values: Mapping[str, Any], payload: str, encoding: str | None = None) -> str:
        signature: str = values["identity"].sign(payload, encoding)
        self.use(signature)
        return signature

    def use(self, secret: str) -> None:
        """Something must not be shown, though it is only used once."""
        self.used = (*self.used[-3:], secret)
        self.n_used += 1


# ---- MARK: Templates and answers ----


def parsed(body: bytes) -> Any:
    """What an answer says, or None if it is no JSON."""
    try:
        return orjson.loads(body)
    except ValueError:
        return None


def at(value: Any, path: str) -> Any:
    """What stands at a dotted path of parsed JSON, or None."""
    for step in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


_NAME = re.compile(r"\{([a-z_]+)\}")


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """A template with its names filled in; names without a value stay."""
    if isinstance(template, str):
        whole = _NAME.fullmatch(template)
        if whole is not None:
            return _value(whole[1], values, template)
        return _NAME.sub(lambda match: str(_value(match[1], values, match[0])), template)
    if isinstance(template, dict):
        return {filled(name, values): filled(value, values) for name, value in template.items()}
    if isinstance(template, list):
        return [filled(item, values) for item in template]
    return template


def _value(name: str, values: Mapping[str, Any], default: str) -> Any:
    if name == "passphrase" and "identity" in values:
        return values["identity"].passphrase
    value = values.get(name, default)
    return default if value is None else value
