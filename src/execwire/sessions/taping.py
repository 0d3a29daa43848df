"""What a session gives its recorder: frames of all its connections in one order, without secrets."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import orjson

from execwire.basics import InflateError, inflate
from execwire.delivery import Secrets

if TYPE_CHECKING:
    from execwire.recording import Recorder
    from execwire.sessions.machine import Machine
    from execwire.sessions.session import _Line, _Link

__all__ = ["Tap", "Taping", "scrubbed"]

LONGEST = 16 << 20  # bytes of a gzip frame that is looked into


class Taping:
    """Between the connections of a session and a recorder.

    Takes the secrets out, tells connections apart, and keeps what they record in the order in which it was delivered.

    Parameters
    ----------
    recorder : Recorder
    venue : str
        Its name, which the recording begins with.
    sockets, lines : list
        The session's, as they are at any time: what has a `Pump`, and what has a `Machine`.
    """

    __slots__ = ("_known", "_last", "_lines", "_recorder", "_secrets", "_sockets", "_taps", "_venue")

    def __init__(self, recorder: Recorder, venue: str, sockets: list[_Link], lines: list[_Line]) -> None:
        self._recorder, self._venue = recorder, venue
        self._sockets, self._lines = sockets, lines
        self._taps, self._last = 0, -1
        self._secrets = Secrets()
        self._known: dict[Machine, int] = {}  # how many secrets of each

    def tap(self, number: int | None) -> Tap:
        """What a connection records with; 0 is none."""
        if number is None:
            number = self._taps = self._taps + 1
        return Tap(self, number)

    def write(self, number: int, lines: bytes) -> str | None:
        """Record what a connection has taped."""
        for link in self._sockets:  # one may be in the middle of a read, which made another one say something
            link.pump.hand_in()
        for line in self._lines:
            self._learn(line.machine)
        if b'"b64":' in lines or self._secrets.hide(lines) is not lines:
            lines = b"\n".join(scrubbed(line, self._secrets) for line in lines.split(b"\n"))
        if number != self._last:
            stamp = lines.partition(b" ")[0]
            mark = b'%b {"execwire":"connection","number":%d}\n' % (stamp, number)
            if self._last < 0:
                venue = orjson.dumps({"execwire": "session", "venue": self._venue})
                mark = b"%b %b\n%b" % (stamp, venue, mark)
            self._last, lines = number, mark + lines
        return self._recorder.write(lines)

    def _learn(self, machine: Machine) -> None:
        if self._known.get(machine) != machine.secrets_seen:
            self._known[machine] = machine.secrets_seen
            for secret in map(str.encode, machine.secrets()):
                self._secrets.add(secret)
                self._secrets.add(secret.replace(b"/", rb"\/"))  # as JSON may have it

    def forget(self, machine: Machine) -> None:
        """A machine has ended; what it kept secret stays so."""
        self._learn(machine)
        self._known.pop(machine, None)


class Tap:
    """One connection's way to the recorder."""

    __slots__ = ("_number", "_recording")

    def __init__(self, recording: Taping, number: int) -> None:
        self._recording = recording
        self._number = number

    def write(self, lines: bytes) -> str | None:
        """See `Recorder`."""
        return self._recording.write(self._number, lines)


def scrubbed(line: bytes, secrets: Secrets) -> bytes:
    """A line of a capture without secrets, also where they lie in a frame in base64."""
    stamp, _, payload = line.partition(b" ")
    if payload.startswith(b'{"execwire":"frame"'):
        frame = base64.b64decode(orjson.loads(payload)["b64"])
        plain = frame
        if frame[:2] == b"\x1f\x8b":
            try:
                plain = inflate(frame, LONGEST)
            except InflateError as error:
                plain = error.plain
        if (payload := secrets.hide(plain)) is plain:
            return line
        kind = b"" if plain is frame else b'"type":"text",'
        return b'%b {"execwire":"frame",%b"b64":"%b"}' % (stamp, kind, base64.b64encode(payload))
    return stamp + b" " * bool(payload) + secrets.hide(payload)
