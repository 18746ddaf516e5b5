"""Whether a box file may stand in the GitOps repository: its place, form, fields, and that it holds no secret.

Pure: paths and bytes in, findings out. What may change from one version to the next: ``steps``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from controller.domain.plans import PLANS
from controller.gitops import leaks, manifests, yamlform
from controller.gitops.findings import Finding, printable
from controller.gitops.manifests import Manifest
from controller.gitops.yamlform import Form

_BOX = re.compile(r"cells/(?P<cell>[a-z][a-z0-9-]{0,30})/boxes/(?P<hh>[0-9a-f]{2})/(?P<id>[a-z0-9]{26})\.yaml")
_TEXTS = re.compile(r"cells/(?:[a-z][a-z0-9-]{0,30}/)?README\.md")
# Argo CD's template reads these whether or not they have defaults, and one missing key stops a sixteenth of a cell.
_WHOLE = ("apiVersion", "kind", "metadata", "spec", "overrides")


@dataclass(frozen=True)
class BoxFile:
    """A box file that keeps every rule about its own content."""

    path: str
    cell: str
    form: Form
    manifest: Manifest

    @property
    def document(self) -> dict[str, Any]:
        """The content as Argo CD hands it to the chart."""
        return self.form.document or {}

    def finding(self, place: yamlform.Place, sentence: str, rule: str) -> Finding:
        """A finding at the line of that part."""
        return Finding(self.path, self.form.line(place), sentence, rule)


def is_box(path: str) -> bool:
    """Whether a box file may stand at ``path``."""
    return _BOX.fullmatch(path) is not None


def places(path: str) -> Iterator[Finding]:
    """A finding if ``path`` is under ``cells/`` and neither a box file's place nor a documented file's."""
    if path.startswith("cells/") and not is_box(path) and not _TEXTS.fullmatch(path):
        sentence = "only cells/<cell>/boxes/<hh>/<id>.yaml and a README.md may stand under cells/"
        yield Finding(path, 1, sentence, "place")


def secrets(path: str, content: bytes, where: str = "") -> Iterator[Finding]:
    """A finding for each secret in the content or the path; it tells the shape and never the secret."""
    sentence = "this looks like {shape}{where}: take it out, and revoke it, because Git does not forget"
    shapes = [*leaks.find(content), *((1, shape + " in the file's name") for _, shape in leaks.find(path.encode()))]
    shown = "(a file)" if any(leaks.find(path.encode())) else path
    for line, shape in shapes:
        yield Finding(shown, line, sentence.format(shape=shape, where=where), "no-secrets")


def read(path: str, content: bytes) -> tuple[BoxFile | None, list[Finding]]:
    """The box file at ``path``, if its content is whole and typed, and every finding about it alone."""
    match = _BOX.fullmatch(path)
    if match is None:
        return None, list(places(path))
    form = yamlform.read(content)
    if form.document is None:
        return None, [Finding(path, fault.line, fault.sentence, fault.rule) for fault in form.faults]
    try:
        file = BoxFile(path, match["cell"], form, Manifest.model_validate(form.document))
    except ValidationError as exc:
        errors = exc.errors(include_input=False, include_url=False)
        return None, [*_whole(path, form), *(_misfit(path, form, error) for error in errors)]
    missing = list(_whole(path, form))
    return (None if missing else file), [*missing, *_identity(file, match["hh"], match["id"]), *_sizes(file)]


def _whole(path: str, form: Form) -> Iterator[Finding]:
    for name in _WHOLE:
        if (form.document or {}).get(name) is None:
            example = "overrides: {}" if name == "overrides" else name
            yield Finding(path, 1, f"{name} is missing; Argo CD's template needs it ({example})", "schema")


def _misfit(path: str, form: Form, error: ErrorDetails) -> Finding:
    place = tuple(error["loc"])
    name = printable(".".join(map(str, place)))[:120] or "the file"
    if error["type"] == "extra_forbidden":
        sentence = f"{name} is not a field of a box"
    elif error["type"] == "missing":
        sentence = f"{name} is missing"
    else:
        reason = error["msg"]
        sentence = f"{name}: {reason[0].lower()}{reason[1:]}"
    return Finding(path, form.line(place), sentence, "schema")


def _identity(file: BoxFile, hh: str, name: str) -> Iterator[Finding]:
    box_id = file.manifest.metadata.id
    if box_id != name:
        sentence = f"metadata.id is {box_id}, but the file is named {name}.yaml"
        yield file.finding(("metadata", "id"), sentence, "id")
    wanted = manifests.shard(name)
    if hh != wanted:
        sentence = f"the folder must be {wanted}/, the first two hex digits of the SHA-1 of {name}"
        yield file.finding(("metadata", "id"), sentence, "shard")


def _sizes(file: BoxFile) -> Iterator[Finding]:
    spec, least = file.manifest.spec, least_volume(file.manifest)
    if spec.volume_gib < least:
        sentence = f"spec.volume_gib is {spec.volume_gib}, but plan {spec.plan} has {least}"
        yield file.finding(("spec", "volume_gib"), sentence, "plan-volume")
    for low, asked, high, most in crossed(file.manifest):
        sentence = f"overrides make {low} ({asked}) larger than {high} ({most})"
        yield file.finding(("overrides", low), sentence, "request-limit")


def least_volume(manifest: Manifest) -> int:
    """The gibibytes that the box's plan is sold with."""
    return PLANS[manifest.spec.plan].resources.volume_gib


def crossed(manifest: Manifest) -> Iterator[tuple[str, int, str, int]]:
    """Each request that plan and overrides make larger than its limit, with both values: no pod could start."""
    asked = PLANS[manifest.spec.plan].resources.model_dump() | manifest.overrides.model_dump(exclude_none=True)
    for kind in ("memory_{}_mib", "cpu_{}_milli"):
        low, high = kind.format("request"), kind.format("limit")
        if asked[low] > asked[high]:
            yield low, asked[low], high, asked[high]


def volume(manifest: Manifest) -> int:
    """The gibibytes that the box's volume has: its own, unless ops override them."""
    override = manifest.overrides.volume_gib
    return manifest.spec.volume_gib if override is None else override
