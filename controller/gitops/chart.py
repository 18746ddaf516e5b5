"""What ``charts/box`` is given, and the files in it that are made from our types.

A box's manifest is the chart's values as it stands, plus ``cell``: what all boxes of one cluster share. The chart's
schema, defaults and plans are written by ``python -m controller.gitops.chart`` (``make generate``), never by hand.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from ruamel.yaml import YAML

from controller.domain.plans import PLANS
from controller.gitops.manifests import Cell, Manifest

CHART_DIR = Path(__file__).resolve().parents[2] / "charts/box"

Url = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~/-]*)?$")]
BrowserUrl = Annotated[str, StringConstraints(pattern=r"^(https?|wss?)://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~/-]*)?$")]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
Cidr = Annotated[str, StringConstraints(pattern=r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$")]
PodSecurity = Annotated[str, StringConstraints(pattern=r"^v1\.\d{2}$")]

_MADE = "# Made by `make generate` from controller/gitops/chart.py; changes here are overwritten.\n"


class CellValues(BaseModel):
    """What differs from cell to cell: one cluster's addresses and rules, the same for each of its boxes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Cell
    image: Image
    """The release's image, by digest: a tag can be moved."""

    api_url: Url
    """The platform's API as a pod reaches it."""

    proxy_url: Url
    """The token proxy, without ``/v1``."""

    telegram_api_url: Url
    """Telegram's Bot API, or its stand-in."""

    browser_url: BrowserUrl | None = None
    """The browser proxy; None: agents have no browser."""

    exec: Literal["full", "off"]
    """Whether agents may run commands; off where nothing confines them."""

    storage_class: Name | None = None
    """None: the cluster's default."""

    snapshot_class: Name | None = None
    """Of the snapshot that an upgrade first takes of a box's volume; None: it takes none.

    Once it is set, a box that was upgraded before gets one too, of its volume as it is then.
    """

    runtime_class: Name | None = None
    """A sandboxing runtime such as gvisor; None: the cluster's default."""

    platform_namespace: Name = "openclaw-cloud"
    """Where the API and the proxies run; boxes may call only them inside the cluster."""

    blocked_cidrs: tuple[Cidr, ...] = ()
    """IPv4 ranges closed to boxes beside all private ones: public pod, service and node ranges, the API server."""

    pod_security_version: PodSecurity = "v1.37"
    """Pinned, so that a cluster upgrade cannot make running boxes inadmissible."""


class ChartValues(Manifest):
    """All values of ``charts/box``; what is not named here is refused."""

    cell: CellValues


def schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of the chart's values, as Helm checks it at every render."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | ChartValues.model_json_schema()


def schema_file() -> bytes:
    """``values.schema.json``."""
    return json.dumps(schema(), indent=2).encode() + b"\n"


def plans_file() -> bytes:
    """``files/plans.yaml``: what a box of each plan gets (mebibytes, milli-CPUs), by plan.

    The volume is not among them: it is the box's own, because it outlives a move to a smaller plan.
    """
    return _yaml({name.value: plan.resources.model_dump(exclude={"volume_gib"}) for name, plan in PLANS.items()})


def defaults_file() -> bytes:
    """``values.yaml``: the cell's defaults; all else is given with every box."""
    fields = CellValues.model_fields.items()
    defaults = {name: field.get_default() for name, field in fields if not field.is_required()}
    given = {name: value for name, value in defaults.items() if value is not None}
    return _yaml({"cell": given})


def files(chart_dir: Path = CHART_DIR) -> dict[Path, bytes]:
    """Each file of the chart that is made here, with the content that it must have."""
    return {
        chart_dir / "values.schema.json": schema_file(),
        chart_dir / "values.yaml": defaults_file(),
        chart_dir / "files/plans.yaml": plans_file(),
    }


def write(chart_dir: Path = CHART_DIR) -> None:
    """Bring those files up to date."""
    for path, content in files(chart_dir).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _yaml(document: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    YAML().dump(json.loads(json.dumps(document)), out)
    return _MADE.encode() + out.getvalue()


if __name__ == "__main__":
    write(*(Path(argument) for argument in sys.argv[1:2]))
