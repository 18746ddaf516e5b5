"""The form in which a box file may be written, so that Argo CD's parser and ours cannot read two things in it.

One document, block or flow, without anchors, aliases, tags, directives and duplicate keys; every string in quotes
and every number in plain decimals, because Argo CD reads YAML 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import AliasToken, AnchorToken, DirectiveToken, TagToken, Token

LARGEST_BYTES = 16_384
_DECIMAL = re.compile(r"0|-?[1-9][0-9]*")
_NULL = {"", "~", "null"}
_BANNED = {AnchorToken: "an anchor", AliasToken: "an alias", TagToken: "a tag", DirectiveToken: "a directive"}

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One fault of form, with its line (from 1)."""

    line: int
    sentence: str
    rule: str


@dataclass
class Form:
    """A file's faults of form and, if it has none that change its meaning, its content and where each part stands."""

    faults: list[Fault] = field(default_factory=list)
    document: dict[str, Any] | None = None
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of the part at ``place``, or of the nearest part around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read(content: bytes) -> Form:
    """The form of ``content``; never raises, whatever it is."""
    form = Form()
    if len(content) > LARGEST_BYTES:
        form.faults.append(
            Fault(1, f"the file is larger than {LARGEST_BYTES} bytes; a box needs a few hundred", "size")
        )
        return form
    try:
        text = content.decode()
        form.faults += _banned(text)
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as exc:
        mark = exc.problem_mark
        form.faults.append(Fault(mark.line + 1 if mark else 1, "this is not YAML: " + (exc.problem or "?"), "yaml"))
        return form
    except (YAMLError, ValueError, RecursionError):
        form.faults.append(Fault(1, "this is not YAML in UTF-8", "yaml"))
        return form
    if not isinstance(root, MappingNode):
        form.faults.append(Fault(1, "a box file is a map with apiVersion, kind, metadata, spec and overrides", "yaml"))
        return form
    if not form.faults:
        document = _value(root, (), form)
        form.document = document if not form.faults else None
    return form


def _banned(text: str) -> Iterator[Fault]:
    tokens: Iterator[Token] = YAML(typ="safe", pure=True).scan(text)
    for token in tokens:
        for kind, name in _BANNED.items():
            if isinstance(token, kind):
                yield Fault(token.start_mark.line + 1, f"{name} stands here; write the value itself", "plain-yaml")


def _value(node: Node, place: Place, form: Form) -> Any:
    form.lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, MappingNode):
        return _map(node, place, form)
    if isinstance(node, SequenceNode):
        return [_value(entry, (*place, number), form) for number, entry in enumerate(node.value)]
    assert isinstance(node, ScalarNode)
    return _scalar(node, place, form)


def _map(node: MappingNode, place: Place, form: Form) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode) or key.value == "<<":
            form.faults.append(Fault(line, "a key must be a word", "plain-yaml"))
            continue
        name = str(key.value)
        if name in made:
            form.faults.append(Fault(line, f"{_dotted((*place, name))} stands here a second time", "duplicate-key"))
        form.lines[(*place, name)] = line
        made[name] = _value(value, (*place, name), form)
    return made


def _scalar(node: ScalarNode, place: Place, form: Form) -> str | int | None:
    if node.style in ("'", '"'):
        return str(node.value)
    if node.style is None and node.value in _NULL:
        return None
    # More digits than any number here has: int() refuses thousands of them, and YAML 1.1 has its own ideas.
    if node.style is None and _DECIMAL.fullmatch(node.value) and len(node.value) <= 18:
        return int(node.value)
    sentence = f"{_dotted(place)} must be in quotes if it is a string, and a plain decimal if it is a number"
    form.faults.append(Fault(node.start_mark.line + 1, sentence, "quoted"))
    return str(node.value)


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place) or "the file"
