"""``python -m controller.devcluster up`` and ``down``: what ``make cluster`` and ``make cluster-down`` run."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from controller.core.errors import CloudError
from controller.devcluster import steps
from controller.devcluster.tools import Tools, ToolsMissing

ROOT = Path(__file__).resolve().parents[2]
KUBECONFIG = ROOT / ".cluster/kubeconfig"
PLACES = {
    "api": "http://localhost:30080",
    "proxy": "http://localhost:30081",
    "stripe": "http://localhost:30082",
    "telegram": "http://localhost:30083  (chat here as the customer)",
    "mail": "http://localhost:30084",
    "git": "ssh://git@localhost:30085/gitops.git  (with GIT_SSH_KEY of the Secret platform)",
    "cluster": f"kubectl --kubeconfig {KUBECONFIG.relative_to(ROOT)}",
}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def up() -> None:
    """Make the cluster, or bring the one that is there up to this tree."""
    steps.up(Tools(KUBECONFIG), ROOT, lambda what: typer.echo(f"== {what}"))
    for name, place in PLACES.items():
        typer.echo(f"{name:<10}{place}")


@app.command()
def down() -> None:
    """Delete the cluster and all that it held."""
    steps.down(Tools(KUBECONFIG))


def main() -> None:
    """Run the command line; our own errors end it in a line each and exit code 1."""
    try:
        app()
    except ToolsMissing as error:
        typer.echo(error.facts["tools"], err=True)
        sys.exit(1)
    except CloudError as error:
        typer.echo(f"cluster: {error}; what is done stays, the same command goes on from here", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
