"""The box manifest: one typed file per box in Git, and nothing else there belongs to us.

Pure: parse, check, change and write manifests; no Git and no network. Ids, enums, sizes, versions and
references only: never a secret, free text or anything personal. The chart's ``values.schema.json`` is
generated from these models.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from controller.core import ids
from controller.core.errors import Invalid, Permanent, foreign
from controller.domain import release_format
from controller.domain.plans import PlanName
from controller.domain.states import Deletion, State
from controller.gitops import ourform

Id = Annotated[str, StringConstraints(pattern=ids.PATTERN)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Release = Annotated[str, StringConstraints(pattern=release_format.PATTERN)]
Cell = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
_CELL = re.compile(r"[a-z][a-z0-9-]{0,30}")
# Strict: the chart's schema takes no "7" or true for a number either.
Version = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
VolumeNumber = Annotated[int, Field(strict=True, ge=0, le=10_000_000)]


class ManifestError(Permanent):
    """Raised when a manifest in Git or about to enter Git is not valid."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Part):
    """Which box it is and whose. A standby names no customer until a purchase claims it; then that never changes."""

    id: Id
    customer: Id | None = None


class SecretVersions(_Part):
    """Versions of the box's secrets; the values are sealed in Postgres."""

    agent: Version
    telegram: Version
    proxy: Version


class Connection(_Part):
    """A connected provider; a new version tells the box to look again."""

    provider: Slug
    version: Version


class _Sparse(_Part):
    """A part that Postgres keeps as the file has it: what is not there is left out, at any depth."""

    @model_serializer(mode="wrap")
    def _bare(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}


class Snapshot(_Sparse):
    """What is kept of the volume as it was under ``release``, before ``rev`` put the box on another."""

    release: Release
    rev: Annotated[int, Field(strict=True, ge=1, le=10_000_000)]
    volume: VolumeNumber | None = None
    """The number of the volume that it is of; None: of the first."""


class Volume(_Sparse):
    """One volume of the box. The first is numbered 0, one made from a snapshot by the rev that asked for it."""

    rev: VolumeNumber
    snapshot: Snapshot | None = None

    @model_validator(mode="after")
    def _from_somewhere(self) -> Volume:
        if (self.rev == 0) != (self.snapshot is None):
            raise PydanticCustomError("volume", "the first volume has no snapshot, and every other is made from one")
        return self


class Volumes(_Sparse):
    """The volume in use, the one before it while that is kept, and which one was given up last, for good."""

    used: Volume
    kept: Volume | None = None
    given_up: VolumeNumber | None = None

    @model_validator(mode="after")
    def _apart(self) -> Volumes:
        numbers = [self.used.rev, self.kept.rev if self.kept else None, self.given_up]
        there = [number for number in numbers if number is not None]
        if len(there) != len(set(there)):
            raise PydanticCustomError("volumes", "a volume is in use, kept or given up, never two of these")
        return self

    @property
    def newest(self) -> int:
        """The number of the newest volume that the box ever had: none is given up but for one that is numbered here."""
        return max(self.used.rev, self.kept.rev if self.kept else 0, self.given_up or 0)


class Spec(_Part):
    """What the platform wants; it writes here, only the fields that its job changes."""

    rev: Annotated[int, Field(strict=True, ge=1, le=10_000_000)]
    state: State
    deletion: Deletion = Deletion.HELD
    plan: PlanName
    volume_gib: Annotated[int, Field(ge=1, le=1_000)]
    release: Release
    snapshot: Snapshot | None = None
    volumes: Volumes | None = None
    """None: it has the first alone."""

    ring: Annotated[int, Field(strict=True, ge=0, le=9)]
    locale: Literal["pt-BR", "en"]
    niche: Slug
    model: Slug
    thinking: Literal["off", "low", "medium", "high"]
    profile: Version
    secrets: SecretVersions
    connections: Annotated[tuple[Connection, ...], Field(max_length=50)] = ()


class Overrides(_Part):
    """What ops want beyond the plan, by pull request; the platform never writes here."""

    memory_request_mib: Annotated[int, Field(strict=True, ge=256, le=65_536)] | None = None
    memory_limit_mib: Annotated[int, Field(strict=True, ge=256, le=65_536)] | None = None
    cpu_request_milli: Annotated[int, Field(strict=True, ge=50, le=32_000)] | None = None
    cpu_limit_milli: Annotated[int, Field(strict=True, ge=50, le=32_000)] | None = None
    volume_gib: Annotated[int, Field(strict=True, ge=1, le=1_000)] | None = None


class Manifest(_Part):
    """One box as Git has it."""

    apiVersion: Literal["openclaw.cloud/v1"] = "openclaw.cloud/v1"  # noqa: N815, Kubernetes' spelling
    kind: Literal["Box"] = "Box"
    metadata: Metadata
    spec: Spec
    overrides: Overrides = Overrides()

    @model_validator(mode="after")
    def _owned_as_its_state_says(self) -> Manifest:
        owned, state = self.metadata.customer is not None, self.spec.state
        if owned if state == State.STANDBY else not owned and state in {State.ACTIVE, State.SUSPENDED}:
            rule = "belongs to nobody" if owned else "belongs to a customer"
            raise PydanticCustomError("owner", "a box that is {state} {rule}", {"state": state.value, "rule": rule})
        return self


def volumes(manifest: Manifest) -> Volumes:
    """The box's volumes, also of a file that says nothing of them."""
    return manifest.spec.volumes or Volumes(used=Volume(rev=0))


def path(cell: str, box_id: str) -> str:
    """Where the box's file is: ``cells/<cell>/boxes/<hh>/<id>.yaml``; ``hh`` from SHA-1 of the id.

    Raises Invalid if ``box_id`` is not an id of ours or ``cell`` has not the form of a cell's name.
    """
    if not _CELL.fullmatch(cell):
        raise Invalid("cell_malformed")
    return f"cells/{cell}/boxes/{shard(box_id)}/{ids.checked(box_id)}.yaml"


def shard(box_id: str) -> str:
    """The two hex digits that spread boxes over 256 folders; the first names the ApplicationSet."""
    return hashlib.sha1(box_id.encode(), usedforsecurity=False).hexdigest()[:2]


def application_set(box_id: str) -> str:
    """The name of the ApplicationSet that renders this box."""
    return f"boxes-{shard(box_id)[0]}"


def create(
    box_id: str, customer_id: str | None, spec: dict[str, Any], allow: Callable[[Manifest], None] = lambda made: None
) -> bytes:
    """The file of a new box; one for a standby has no customer.

    Raises ManifestError if the spec is not valid, and what ``allow`` raises about the manifest.
    """
    made = _validated({"metadata": {"id": box_id, "customer": customer_id}, "spec": spec})
    allow(made)
    return _dump(made.model_dump(mode="json", exclude_none=True))


def of(box_id: str, customer_id: str | None, spec: dict[str, Any], overrides: dict[str, Any]) -> Manifest:
    """The manifest of a box that is known field by field.

    Raises ManifestError if it is not valid, naming the first fault.
    """
    return _validated({"metadata": {"id": box_id, "customer": customer_id}, "spec": spec, "overrides": overrides})


def read(content: bytes) -> Manifest:
    """The manifest in ``content``.

    Raises ManifestError if it is not YAML or not a valid manifest, naming the first fault.
    """
    return _validated(_load(content))


def change(
    content: bytes,
    fields: dict[str, Any],
    allow: Callable[[Manifest, Manifest], None] = lambda before, after: None,
    *,
    customer: str | None = None,
) -> bytes:
    """``content`` with ``fields`` of its spec set, and owned by ``customer`` if one is given; all else stays as it was.

    ``fields`` maps a dotted path below ``spec`` (``state``, ``secrets.agent``) to a JSON value, None to take the field
    out. Comments are kept.
    Returns ``content`` itself when nothing changes. Raises ManifestError if the result would be invalid, and what
    ``allow`` raises about the step from the one manifest to the other.
    """
    document = _load(content)
    before = _validated(document)
    for dotted, value in fields.items():
        _set(document["spec"], dotted, value)
    if customer is not None:
        document["metadata"]["customer"] = _quoted(customer)
    after = _validated(document)
    allow(before, after)
    return content if after == before else _dump(document)


def _set(spec: Any, dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    for name in parents:
        spec = spec.get(name)
        if not isinstance(spec, dict):
            raise ManifestError("manifest_invalid", field=f"spec.{dotted}", reason="no such field")
    if value is None:
        spec.pop(leaf, None)
    else:
        spec[leaf] = _quoted(value)


def _load(content: bytes) -> Any:
    if (ours := ourform.read(content)) is not None:
        return ours
    yaml = _yaml()
    yaml.version = (1, 1)  # as Argo CD reads it: what it takes for a truth or a date, we do not take for a word
    try:
        return yaml.load(content)
    except (YAMLError, ValueError, RecursionError) as exc:  # a date or number that cannot be is a bare ValueError
        raise ManifestError("manifest_not_yaml", reason=foreign(exc)) from exc


def _validated(document: Any) -> Manifest:
    try:
        return Manifest.model_validate(document)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestError("manifest_invalid", field=where, reason=foreign(first["msg"])) from exc


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 120
    return yaml


def _dump(document: Any) -> bytes:
    if type(document) is dict:  # as the model or ourform gave it, and no comments in it
        if (ours := ourform.write(document)) is not None:
            return ours
        document = _quoted(document)
    out = io.BytesIO()
    _yaml().dump(document, out)
    return out.getvalue()


def _quoted(value: Any) -> Any:
    # Argo CD reads YAML 1.1, where an unquoted `no` or `1e3` is not a string.
    if isinstance(value, str):
        return DoubleQuotedScalarString(value)
    if isinstance(value, dict):
        return CommentedMap((key, _quoted(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return CommentedSeq(_quoted(item) for item in value)
    return value
