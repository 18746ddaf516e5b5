"""A picture to send: 64 by 64 pixels."""

from __future__ import annotations

import struct
import zlib

SIDE = 64


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress((b"\0" + b"\x20\x80\xc0" * SIDE) * SIDE))
    + _chunk(b"IEND", b"")
)
