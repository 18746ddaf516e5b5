"""The platform's Applications (``argocd/platform``), with which Argo CD takes over."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

from ruamel.yaml import YAML

from controller.devcluster import charts, repositories
from controller.devcluster.groundwork import ARGOCD, PATIENCE
from controller.devcluster.repositories import Filled
from controller.devcluster.tools import Tools

APPLICATIONS = ("platform-apps", "cell", "platform")


def bring(tools: Tools, root: Path, filled: Filled, *, moved: bool) -> None:
    """The Applications are there, have seen what ``moved``, and are synced and healthy."""
    of_argo = ("--namespace", ARGOCD)
    if not tools.succeeds("kubectl", "get", "applications.argoproj.io", "platform-apps", *of_argo):
        tools.apply_text(_applications(tools, root, filled))
    elif moved:
        # hard: a chart of the same version may be another, as it may nowhere else; boxes see theirs too
        now = ("argocd.argoproj.io/refresh=hard", "--all", "--overwrite")
        tools.run("kubectl", "annotate", "applications.argoproj.io", *now, *of_argo)
    names = [f"applications.argoproj.io/{name}" for name in APPLICATIONS]
    for is_so in ("{.status.sync.status}=Synced", "{.status.health.status}=Healthy"):
        tools.run("kubectl", "wait", f"--for=jsonpath={is_so}", *names, *of_argo, PATIENCE)


def _applications(tools: Tools, root: Path, filled: Filled) -> str:
    with TemporaryDirectory() as folder:
        tree = Path(folder) / "argocd"
        copytree(root / "argocd", tree)
        repositories.fill(tree, filled)
        values = YAML(typ="safe").load(tree / "platforms/local.yaml")
    return charts.render(tools, "platform-apps", root / "argocd/platform", ARGOCD, values)
