"""Live private streams: connecting, logging in, keeping alive, and coming back.

`Session` is what users see. Behind it are a state machine without I/O (`machine`), which acts on the rules in a
venue's file (`frames` fills them in) and says what is to be done (`effects`), and the sockets that do it (`transport`).
"""

from __future__ import annotations

from execwire.delivery import Handler
from execwire.recording import FileRecorder, Recorder
from execwire.sessions.machine import Machine, State
from execwire.sessions.replaying import Replay, replay
from execwire.sessions.session import Account, Gap, Key, Session, SessionError, credentials_from_env, read_rules

__all__ = [
    "Account",
    "FileRecorder",
    "Gap",
    "Handler",
    "Key",
    "Machine",
    "Recorder",
    "Replay",
    "Session",
    "SessionError",
    "State",
    "credentials_from_env",
    "read_rules",
    "replay",
]
