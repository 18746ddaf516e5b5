"""Files that bots and people sent: bytes in a folder, what is known of them in the documents."""

from __future__ import annotations

import os
import secrets
import struct
from dataclasses import dataclass
from pathlib import Path

from controller.sandbox.documents import Document
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import Fault, bad_request
from controller.sandbox.telegram.params import Params, Upload

LARGEST_PHOTO = 10 * 1024 * 1024
LARGEST_FILE = 50 * 1024 * 1024
LARGEST_DOWNLOAD = 20 * 1024 * 1024
"""A bot gets no file above this from getFile, however it came."""


@dataclass(frozen=True)
class Kind:
    """How a kind of file shows in a message; a document keeps its name, a video has a size and a length."""

    field: str
    folder: str
    sized: bool = False
    timed: bool = False
    named: bool = True


KINDS = {
    "photo": Kind("photo", "photos", named=False),
    "document": Kind("document", "documents"),
    "video": Kind("video", "videos", sized=True, timed=True),
    "animation": Kind("animation", "animations", sized=True, timed=True),
    "audio": Kind("audio", "music", timed=True),
    "voice": Kind("voice", "voice", timed=True, named=False),
}


def media(town: Town, bot: Document, params: Params, field: str) -> Document:
    """The file in the parameter ``field``, uploaded or named by its id, as a message shows it.

    Raises Fault for an unknown id, for an address (nothing is fetched here) and for what is no picture.
    """
    upload = params.upload(field)
    if upload is not None:
        return stored(town, bot, upload, field)
    given = params.text(field) or ""
    if not given:
        raise bad_request(f"there is no {field} in the request")
    if given.startswith(("http://", "https://")):
        raise bad_request("failed to get HTTP URL content")
    known = town.documents.get(_files(bot), given)
    if known is None:
        raise bad_request("wrong remote file identifier specified: Wrong string length")
    return _shown(known, field)


def stored(town: Town, bot: Document, upload: Upload, field: str) -> Document:
    """Keep the upload; how a message shows it as ``field``.

    Raises Fault for one that is empty or too large, and for a photo that is no picture.
    """
    if not upload.content:
        raise bad_request("file must be non-empty")
    if len(upload.content) > (LARGEST_PHOTO if field == "photo" else LARGEST_FILE):
        raise Fault(413, "Request Entity Too Large")
    size = picture_size(upload.content)
    if field == "photo" and size is None:
        raise bad_request("IMAGE_PROCESS_FAILED")
    number = town.documents.next(f"file:{bot['id']}", 0)
    suffix = ".jpg" if field == "photo" else Path(upload.name).suffix[:16]
    known: Document = {
        "file_id": f"AgAD{secrets.token_urlsafe(24)}",
        "file_unique_id": f"AQAD{secrets.token_urlsafe(9)}",
        "file_size": len(upload.content),
        "file_path": f"{KINDS[field].folder}/file_{number}{suffix}",
        "file_name": upload.name,
        "mime_type": upload.content_type,
        "size": size,
    }
    _write(path(town, bot, known), upload.content)
    town.documents.put(_files(bot), known["file_id"], known)
    return _shown(known, field)


def get_file(town: Town, bot: Document, params: Params) -> Document:
    """Where the bot can download the file."""
    known = town.documents.get(_files(bot), params.text("file_id") or "")
    if known is None:
        raise bad_request("invalid file_id")
    if known["file_size"] > LARGEST_DOWNLOAD:
        raise bad_request("file is too big")
    return {name: known[name] for name in ("file_id", "file_unique_id", "file_size", "file_path")}


def at(town: Town, bot: Document, file_path: str) -> tuple[Path, Document]:
    """The file at a path that getFile named, and what is known of it. Raises Fault (404) for any other path."""
    found = town.documents.find(_files(bot), {"file_path": file_path}, limit=1)
    if not found:
        raise Fault(404, "Not Found")
    return path(town, bot, found[0]), found[0]


def path(town: Town, bot: Document, known: Document) -> Path:
    """Where the bytes lie; nothing in it was chosen by whoever sent the file."""
    return town.files / str(bot["id"]) / str(known["file_unique_id"])


def of(town: Town, bot: Document, file_id: str) -> Document | None:
    """What is known of the file."""
    return town.documents.get(_files(bot), file_id)


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF, WebP or JPEG; None for anything else."""
    if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) >= 24:
        return struct.unpack(">II", content[16:24])
    if content[:6] in (b"GIF87a", b"GIF89a") and len(content) >= 10:
        return struct.unpack("<HH", content[6:10])
    if content[:4] == b"RIFF" and content[8:16] == b"WEBPVP8X" and len(content) >= 30:
        wide, high = (int.from_bytes(content[start : start + 3], "little") + 1 for start in (24, 27))
        return wide, high
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return 1, 1
    return _jpeg_size(content) if content.startswith(b"\xff\xd8") else None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            high, wide = struct.unpack(">HH", content[at + 5 : at + 9])
            return wide, high
        at += 2 + length
    return None


def _shown(known: Document, field: str) -> Document:
    kind = KINDS[field]
    told: Document = {name: known[name] for name in ("file_id", "file_unique_id", "file_size")}
    if field == "photo":
        wide, high = known["size"] or (1, 1)
        return {"photo": [told | {"width": wide, "height": high}]}
    told |= {"mime_type": known["mime_type"]}
    told |= {"file_name": known["file_name"]} if kind.named else {}
    told |= {"width": 1, "height": 1} if kind.sized else {}
    told |= {"duration": 0} if kind.timed else {}
    # Telegram shows a GIF as a document too, for clients that know no animations.
    return {field: told} | ({"document": told} if field == "animation" else {})


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.with_suffix(".part")
    building.write_bytes(content)
    os.replace(building, target)


def _files(bot: Document) -> str:
    return f"file:{bot['id']}"
