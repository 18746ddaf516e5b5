"""What is wrong with a change, one readable line each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """One fault: where it is, a sentence that says what to do, and the name of the rule."""

    path: str
    line: int
    sentence: str
    rule: str

    def __str__(self) -> str:
        return f"{printable(self.path)}:{self.line}: {printable(self.sentence)} ({self.rule})"


def printable(text: str) -> str:
    """``text`` on one line and without control characters: paths and values come from whoever wrote the change."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
