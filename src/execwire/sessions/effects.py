"""What a `Machine` wants done. It does nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Beat", "CatchUp", "Close", "Connect", "Effect", "Fetch", "Finish", "Hold", "Recover", "Release", "Reply",
    "Route", "Send", "Share", "Tell",
]  # fmt: skip


class Effect:
    """Something to do."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Connect(Effect):
    """Open the socket of a link. Holds credentials: not for showing."""

    link: int
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Send(Effect):
    """Send a text frame."""

    link: int
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Close(Effect):
    """Close the socket of a link."""

    link: int


@dataclass(frozen=True, slots=True)
class Fetch(Effect):
    """Send a request over HTTP; the answer goes to `Machine.fetched` with the same tag."""

    tag: tuple[str, int]
    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tell(Effect):
    """A notice for the stream: of one account, or of all (None)."""

    notice: dict[str, Any]
    account: int | None = None
    link: int | None = None


@dataclass(frozen=True, slots=True)
class Route(Effect):
    """Records of a subscription belong to an account; None: to nobody any more."""

    link: int
    subscription_id: int
    account: int | None


@dataclass(frozen=True, slots=True)
class Beat(Effect):
    """Begin heartbeats and the watch over silence."""

    link: int


@dataclass(frozen=True, slots=True)
class Hold(Effect):
    """Keep the link's records back."""

    link: int


@dataclass(frozen=True, slots=True)
class Release(Effect):
    """Deliver what was kept back."""

    link: int


@dataclass(frozen=True, slots=True)
class CatchUp(Effect):
    """Call `Machine.caught_up` once everything has been read that the other side of a link has sent by now."""

    link: int


@dataclass(frozen=True, slots=True)
class Share(Effect):
    """Two links bring the same stream from now on: drop what comes twice. With `second` None that has an end."""

    first: int
    second: int | None


@dataclass(frozen=True, slots=True)
class Recover(Effect):
    """Let the user fill a gap (ns since 1970), then call `Machine.recovered` with its number."""

    link: int
    number: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Reply(Effect):
    """The answer to a request of the user: a payload, or the venue's error."""

    request: int
    payload: bytes = field(repr=False)
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Finish(Effect):
    """It is over: with an error, as the venue tells it, or because it was asked for."""

    code: str | None
    message: str
