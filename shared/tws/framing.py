"""Cut a byte stream into frames and put payloads into frames.

A frame is a length of four bytes, big-endian, and that many bytes of payload.

Invariants:
1. The frames do not depend on how the bytes were cut: whole and byte by byte give the same.
2. At most one frame's payload and one chunk are held. A length beyond the limit ends the stream at once, before any
   of its payload is kept.

Source: ib-facts B.2.
"""

from __future__ import annotations

import struct

from shared.errors import DecodeError

MAX_PAYLOAD = 0xFFFFFF
"""The limit of the official client and of @stoqey/ib."""
_HEADER = struct.Struct(">I")


def encode_frame(payload: bytes) -> bytes:
    """Return the payload with its length in front.

    Raises:
        ValueError: it is longer than `MAX_PAYLOAD`.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame of {len(payload)} bytes is longer than {MAX_PAYLOAD}")
    return _HEADER.pack(len(payload)) + payload


def split_first(data: bytes | bytearray, max_payload: int) -> tuple[bytes, bytes] | None:
    """Return the payload of the first frame and the bytes after it, or None if the frame is not complete.

    Raises:
        DecodeError: it announces more than `max_payload` bytes.
    """
    if len(data) < _HEADER.size:
        return None
    (length,) = _HEADER.unpack_from(data, 0)
    if length > max_payload:
        raise DecodeError(f"a frame announces {length} bytes, at most {max_payload} are allowed")
    end = _HEADER.size + length
    return (bytes(data[_HEADER.size : end]), bytes(data[end:])) if len(data) >= end else None


class FrameReader:
    """Collect bytes and return the payloads of the frames that are complete.

    After a length beyond the limit `error` is set and everything that follows is ignored: there is no way to find the
    next frame.
    """

    __slots__ = ("_buffer", "_limit", "error")

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self._buffer = bytearray()
        self._limit = max_payload
        self.error: DecodeError | None = None

    @property
    def pending(self) -> int:
        """Bytes received that do not make a whole frame yet."""
        return len(self._buffer)

    def receive_data(self, data: bytes) -> list[bytes]:
        """Return the payloads of the frames that `data` completes, in order."""
        if self.error is not None:
            return []
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        start, end = 0, len(buffer)
        while end - start >= _HEADER.size:
            (length,) = _HEADER.unpack_from(buffer, start)
            if length > self._limit:
                self.error = DecodeError(f"a frame announces {length} bytes, at most {self._limit} are allowed")
                buffer.clear()
                return frames
            body = start + _HEADER.size
            if end - body < length:
                break
            frames.append(bytes(buffer[body : body + length]))
            start = body + length
        if start:
            del buffer[:start]
        return frames
