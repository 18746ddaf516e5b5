"""What a remote's answer to a push means, and its words as people may read them. Pure.

A hook's text is a stranger's: it can hold colours, cursor movements, and lines that look like git's own.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum

from controller.core.errors import foreign

_STATUS = re.compile(r"^(?: *stdout: ')?!\t[^\t\n]*\t(\[[^\n]*)", re.MULTILINE)
_ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_ABOUT_A_COMMIT = re.compile(r"\b[0-9a-f]{7,64}\b|\d+")
_CHATTER = re.compile(r"^(?:To |Done'?$|error: failed to push some refs to )")
_WRAPPED = re.compile(r"^ *(?:stdout|stderr): '")

_MOVED = ("non-fast-forward", "fetch first", "cannot lock ref", "stale info", "failed to update ref", "old value")
_BROKEN = ("unpack", "internal server error", "missing necessary objects", "failed to report")
# what GitHub and GitLab say when nobody of our rights may push, whatever the commits hold
_CLOSED = ("protected branch update failed", "not allowed to push code")


class Verdict(StrEnum):
    """What a push that failed says of the remote."""

    MOVED = "moved"
    """``main`` is elsewhere by now."""

    REFUSED = "refused"
    """A hook or rule says no, to what is pushed or to everything: its words alone do not tell."""

    CLOSED = "closed"
    """It takes nothing from us, in words that we know."""

    AWAY = "away"
    """It could not answer; what became of the push is unknown."""


def verdict(text: str) -> Verdict:
    """What git's whole output of a failed ``push --porcelain`` means."""
    if any(sign in text.lower() for sign in _CLOSED):
        return Verdict.CLOSED
    status = _STATUS.search(text)
    if status is None or any(sign in status[1].lower() for sign in _BROKEN):
        return Verdict.AWAY
    if any(sign in status[1].lower() for sign in _MOVED):
        return Verdict.MOVED
    return Verdict.REFUSED


def words(text: str) -> str:
    """What the remote said, or git where it said nothing: one short line without controls and credentials."""
    clean = "".join(map(_printable, _ESCAPES.sub("", text))).removesuffix("'")
    lines = [_WRAPPED.sub("", line).strip() for line in clean.split("\n")]
    told = [line.removeprefix("remote:") for line in lines if line.startswith("remote:")]
    if not any(re.search(r"\w", line) for line in told):
        told = [line for line in lines if not _CHATTER.match(line)]
    joined = " ".join(" ".join(line for line in told if re.search(r"\w", line)).split())
    return foreign(_CREDENTIALS.sub("", joined))


def gist(words: str) -> str:
    """The words without numbers and the names of commits, which differ each time that the same is said."""
    return _ABOUT_A_COMMIT.sub("#", words)


def _printable(char: str) -> str:
    if char in "\r\n":
        return "\n"
    return " " if unicodedata.category(char).startswith("C") else char
