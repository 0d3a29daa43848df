"""What can go wrong with a connection, on purpose and the same way every time."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Every", "Faults", "Injector"]


class Every(NamedTuple):
    """Instead of a probability: every nth message."""

    n: int


Chance = float | Every


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong. Chances are probabilities of an event message, or `Every`; None and 0 mean never.

    Attributes
    ----------
    drop, duplicate, reorder, delay, malformed : float or Every
        The message is lost; sent twice; sent after the next one; sent later, by `delay_seconds`; cut off in the middle.
    delay_seconds : float
    close_after, close_after_seconds
        Close the connection after so many event messages, or seconds.
    close_code : int
        With this code; 1006, which no close frame can hold, cuts the connection off.
    silent_after : int or None
        After so many event messages no more event is sent; answers and heartbeats are.
    mute_after : int or None
        After so many event messages nothing at all is sent, not even an answer to a ping.
    shutdown_after : int or None
        After so many event messages the server announces its shutdown, where the venue has such a message, and closes
        the connection `shutdown_seconds` later.
    shutdown_seconds : float
    terminate_after : int or None
        After so many event messages the stream ends, by the venue's own message where it has one: the subscription is
        terminated, the listen key expires, the system closes.
    refuse : int
        Refuse so many handshakes, then no more.
    refuse_rest : int
        Refuse so many REST requests, then no more.
    refuse_status : int
        With this HTTP status.
    malformed_answers : float or Every
        Answers to requests (REST, too), prompts and heartbeats are cut off in the middle.
    key_life : float or None
        Seconds until a listen key or token expires, instead of the venue's.
    clock_skew : float
        Seconds that the exchange's clock is ahead.
    """

    drop: Chance = 0.0
    duplicate: Chance = 0.0
    reorder: Chance = 0.0
    delay: Chance = 0.0
    delay_seconds: float = 0.05
    malformed: Chance = 0.0
    malformed_answers: Chance = 0.0
    close_after: int | None = None
    close_after_seconds: float | None = None
    close_code: int = 1001
    silent_after: int | None = None
    mute_after: int | None = None
    shutdown_after: int | None = None
    shutdown_seconds: float = 1.0
    terminate_after: int | None = None
    refuse: int = 0
    refuse_rest: int = 0
    refuse_status: int = 503
    key_life: float | None = None
    clock_skew: float = 0.0

    def __post_init__(self) -> None:
        for name in ("drop", "duplicate", "reorder", "delay", "malformed", "malformed_answers"):
            chance = getattr(self, name)
            if isinstance(chance, Every):
                if chance.n < 1:
                    raise ValueError(f"{name}: every {chance.n}th message is no message")
            elif not 0 <= chance <= 1:
                raise ValueError(f"{name}: {chance} is no probability")
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name != "clock_skew" and isinstance(value, int | float) and value < 0:
                raise ValueError(f"{one.name}: {value} is negative")
        if not 1000 <= self.close_code <= 4999:
            raise ValueError(f"close_code: {self.close_code} is no code of a WebSocket")

    @cached_property
    def harmless(self) -> bool:
        """Whether nothing goes wrong with any message."""
        return self == Faults(
            refuse=self.refuse,
            refuse_rest=self.refuse_rest,
            malformed_answers=self.malformed_answers,
            refuse_status=self.refuse_status,
            key_life=self.key_life,
            clock_skew=self.clock_skew,
            close_after_seconds=self.close_after_seconds,
            close_code=self.close_code,
        )

    def but(self, **changes: object) -> Faults:
        """The same with some changes."""
        return replace(self, **changes)  # type: ignore[arg-type]


class Injector:
    """Decides what becomes of one connection's event messages.

    Parameters
    ----------
    seed : str
        The same seed, the same faults.
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._held: tuple[bytes, bool] | None = None
        self._number = self._answers = 0

    def messages(self, faults: Faults, payload: bytes, binary: bool) -> Iterator[tuple[str, bytes, bool]]:
        """What is sent instead of a message: (what was done to it, payload, binary), in order."""
        self._number += 1
        if self._happens(faults.drop):
            yield "dropped", payload, binary
            return
        what = "sent"
        if self._happens(faults.malformed):
            payload, what = payload[: len(payload) // 2], "malformed"
        if self._held is None and self._happens(faults.reorder):
            self._held = payload, binary
            return
        yield ("delayed" if self._happens(faults.delay) else what), payload, binary
        if self._happens(faults.duplicate):
            yield "duplicated", payload, binary
        if self._held is not None:
            held, self._held = self._held, None
            yield "reordered", *held

    def answer(self, faults: Faults, payload: bytes) -> bytes:
        """What is sent instead of an answer."""
        self._answers += 1
        spoilt = faults.malformed_answers and self._happens(faults.malformed_answers, self._answers)
        return payload[: len(payload) // 2] if spoilt else payload

    def _happens(self, chance: Chance, number: int | None = None) -> bool:
        if isinstance(chance, Every):
            return (self._number if number is None else number) % chance.n == 0
        return chance > 0 and self._random.random() < chance
