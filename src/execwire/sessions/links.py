"""What a machine knows of its connections (links), of what it has asked for on them, of limits and listen keys."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from execwire.rules import Request, Step

__all__ = ["NEVER", "Link", "ListenKey", "Pending", "State", "until_room"]

NEVER = float("inf")
_WEIGHT = 2  # of a request that subscribes, in Binance's limits
_SPANS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}  # s: limits begin anew with each


class State(enum.StrEnum):
    """Where a machine, or one of its links, is."""

    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    SUBSCRIBING = "subscribing"
    RECOVERING = "recovering"
    LIVE = "live"
    DRAINING = "draining"
    WAITING = "waiting"
    CLOSED = "closed"


@dataclass(slots=True)
class Pending:
    """A request that was sent or is about to be."""

    what: Step | Request
    kind: str  # step, account, channels, unsubscribe, user
    account: int = 0
    channels: list[dict[str, str]] | None = None
    subscription_id: int | None = None
    params: Mapping[str, Any] | None = None
    remaining: int = 1
    id: str | None = None
    user: int = 0
    deadline: float = NEVER


@dataclass(slots=True, eq=False)
class Link:
    """A connection, from the wish for it to its end."""

    id: int
    why: str  # start, reconnect, handover
    state: State = State.CONNECTING
    deadline: float = NEVER
    step: int = -1
    opened_at: float = 0.0
    handover_at: float = NEVER
    left_at: int = 0  # when the next one was live, ns since 1970
    resume_at: float = NEVER
    keys_missing: set[int] | tuple[()] = ()
    keys: dict[int, str] = field(default_factory=dict, repr=False)  # account -> the listen key it goes by
    outbox: list[Pending] = field(default_factory=list)
    waiting: list[Pending] = field(default_factory=list)
    overdue: tuple[Pending, ...] = ()  # subscriptions whose answers may still come, though nobody waits for them
    next_id: int = 0
    subscriptions: dict[int, int] = field(default_factory=dict)  # id -> account
    ended: tuple[tuple[int, int], ...] = ()  # the same of those that are over: records of theirs may wait
    total: int = 0
    answered: list[float] = field(default_factory=list)  # when, where the venue limits messages
    malformed: int = 0
    is_held: bool = False
    is_left: bool = False  # the user has ended its subscriptions
    recovering: tuple[int, ...] = ()  # the numbers of gaps that are being filled


@dataclass(slots=True)
class ListenKey:
    """A listen key or token of an account."""

    value: str = field(repr=False)
    renew_at: float
    expires_at: float
    doubted: bool = False  # it may have died with its connection, and a new one by it would be open and silent


def until_room(limits: Sequence[dict[str, Any]], waiting: int, now: float) -> float:
    """Seconds until rate limits have room for one more request; 0: they have.

    Parameters
    ----------
    limits : sequence of dict
        As the venue's last answer told them.
    waiting : int
        How many requests are on their way.
    now : float
        The venue's time, s since 1970.
    """
    wait, more = 0.0, 4 + _WEIGHT * waiting
    for one in limits:
        is_one = isinstance(one, dict) and isinstance(one.get("limit"), int) and isinstance(one.get("count"), int)
        if is_one and one["count"] + more > one["limit"] > 4:
            span = _SPANS.get(str(one.get("interval")), 60)
            wait = max(wait, span - now % span + 1)  # clocks differ
    return wait
