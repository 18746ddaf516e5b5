"""What a change makes of its boxes, as the Markdown of a comment on a pull request."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from controller.core.errors import CloudError
from controller.gitops import validation
from controller.gitops.findings import printable
from controller.gitops.objects import Object, mapping, title
from controller.gitops.rendering import dump
from controller.gitops.reviews import Reviewer, before_and_after
from controller.gitops.validation import BoxFile

LONGEST = 60_000
"""Characters. GitHub refuses a comment above 65 536."""

MARK = "<!-- openclaw-cloud gitops diff -->"
"""The first line: by it a pipeline finds the comment that it wrote before."""


def comment(reviewer: Reviewer, base: str) -> str:
    """The comment's body: per changed box its fields, then each rendered object's differences; cut at ``LONGEST``."""
    paths = [path for path in reviewer.tree.changed(base) if validation.is_box(path)]
    head = f"{MARK}\n### Rendered changes: {len(paths)} {'box' if len(paths) == 1 else 'boxes'}\n"
    if not paths:
        return head + "\nNo box file changes.\n"
    text = head
    for number, path in enumerate(paths):
        section = _section(reviewer, base, path)
        if len(text) + len(section) > LONGEST:
            left = len(paths) - number
            return f"{text}\n… {left} more, too long for a comment: run `openclaw-cloud gitops diff --base {base}`.\n"
        text += section
    return text


def _section(reviewer: Reviewer, base: str, path: str) -> str:
    head = f"\n#### `{path}`\n\n"
    try:
        before, after = before_and_after(reviewer, base, path)
        if after is None:
            return head + "The file is removed, which deletes nothing in the cluster.\n"
        old = _by_title(reviewer.render(before)) if before else {}
        new = _by_title(reviewer.render(after))
    except CloudError as error:
        return f"{head}Not rendered.\n\n{_fenced(printable(str(error)), '')}\n"
    parts = [_fields(before, after), *(_object(name, old.get(name), new.get(name)) for name in sorted({*old, *new}))]
    told = "\n".join(part for part in parts if part)
    return head + (told or "No rendered object changes.\n")


def _by_title(objects: Iterable[Object]) -> dict[str, Object]:
    return {title(obj): obj for obj in objects}


def _fields(before: BoxFile | None, after: BoxFile) -> str:
    old = dict(_flat(mapping(before.document) if before else {}))
    new = dict(_flat(after.document))
    rows = [
        f"| `{name}` | {_cell(old.get(name))} | {_cell(new.get(name))} |"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    return "\n".join(["| field | before | after |", "|---|---|---|", *rows, ""]) if rows else ""


def _cell(value: object) -> str:
    return "–" if value is None else f"`{printable(str(value))}`"


def _flat(node: Any, place: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _flat(value, f"{place}.{name}" if place else str(name))
    elif isinstance(node, list) and node:
        for number, value in enumerate(node):
            yield from _flat(value, f"{place}[{number}]")
    else:
        yield place, node


def _object(name: str, old: Object | None, new: Object | None) -> str:
    if old == new:
        return ""
    was, now = (dump(obj).splitlines() if obj else [] for obj in (old, new))
    lines = difflib.unified_diff(was, now, lineterm="")
    sort = "new" if old is None else "gone" if new is None else "changed"
    body = _fenced("\n".join(list(lines)[2:]), "diff")
    return f"<details><summary>{name}: {sort}</summary>\n\n{body}\n</details>\n"


def _fenced(text: str, language: str) -> str:
    """A code block that no run of backticks in ``text`` can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}\n"
