"""The listener without a compiled layout: what `execwire.stream` does, in Python, some ten times slower.

Taken where the installed picows is not the one that `execwire.stream` was built for. Same records, same notices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

if TYPE_CHECKING:
    from execwire.delivery import Pump

__all__ = ["Listener"]


class Listener(WSListener):
    """Gives the messages of one connection to a `Pump`; see `execwire.stream.Listener`.

    Parameters
    ----------
    pump : execwire.delivery.Pump
    max_message : int
        Bytes that the fragments of one message may have together.
    """

    def __init__(self, pump: Pump, max_message: int) -> None:
        self.pump = pump
        self.max_message = max_message
        self.closed = False
        self.late = 0
        self._parts: list[bytes] | None = None
        self._binary = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """See picows."""
        self.pump.transport = transport
        self.pump.owner.on_open(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """See picows."""
        if self.closed:
            self.late += 1
            return
        try:
            kind = frame.msg_type
            plain = frame.fin and not frame.rsv1 and self._parts is None
            if plain and kind in (WSMsgType.TEXT, WSMsgType.BINARY):
                self.pump.feed(frame.get_payload_as_bytes(), kind == WSMsgType.BINARY)
            else:
                self._other(transport, frame)
            if frame.last_in_buffer or self.closed:
                self.pump.flush()
        except BaseException as error:
            self.closed = True
            self.pump.owner.on_handler_stop(error)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """See picows."""
        handshake = transport.close_handshake
        self.closed = True
        try:
            self.pump.flush()
        finally:
            self.pump.transport = None
            if handshake is not None and handshake.recv is not None:
                self.pump.owner.on_close(int(handshake.recv.code), handshake.recv.reason or "")  # type: ignore[call-overload]
            elif handshake is not None and handshake.sent is not None:
                self.pump.owner.on_close(int(handshake.sent.code), handshake.sent.reason or "closed by us")  # type: ignore[call-overload]
            else:
                self.pump.owner.on_close(0, "")

    def pause_writing(self) -> None:
        """See picows."""

    def resume_writing(self) -> None:
        """See picows."""

    def _other(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind != WSMsgType.CLOSE:  # which tells when it was read, not until when there was a stream
            self.pump.saw_frame(kind in (WSMsgType.PING, WSMsgType.PONG))
        if kind == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.PONG:
            self.pump.saw_pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            self.closed = True
            code = frame.get_close_code()
            transport.send_close(WSCloseCode.OK if code == WSCloseCode.NO_INFO else code)
            transport.disconnect()
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._refuse(transport, WSCloseCode.PROTOCOL_ERROR, "a compressed frame, but no extension was agreed on")
        else:
            self._part(transport, frame)

    def _part(self, transport: WSTransport, frame: WSFrame) -> None:
        if (frame.msg_type == WSMsgType.CONTINUATION) != (self._parts is not None):
            self._refuse(transport, WSCloseCode.PROTOCOL_ERROR, "a fragment out of sequence")
            return
        if self._parts is None:
            self._parts = []
            self._binary = frame.msg_type == WSMsgType.BINARY
        if sum(map(len, self._parts)) + frame.payload_size > self.max_message:
            self._refuse(transport, WSCloseCode.MESSAGE_TOO_BIG, "a fragmented message is too long")
            return
        self._parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            parts, self._parts = self._parts, None
            self.pump.feed(b"".join(parts), self._binary)

    def _refuse(self, transport: WSTransport, code: WSCloseCode, reason: str) -> None:
        self.closed = True
        self.pump.owner.on_refused(reason)
        transport.send_close(code, reason.encode())
        transport.disconnect()
