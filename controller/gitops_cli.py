"""``openclaw-cloud gitops``: what ops and their pull requests ask of the GitOps repository.

Exit codes: 0 nothing to say against it, 1 findings, 2 the question cannot be answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.core.errors import CloudError

if TYPE_CHECKING:
    from controller.gitops.reviews import Reviewer

app = typer.Typer(no_args_is_help=True, help="The GitOps repository: judge, render and trace changes.")

Repo = Annotated[Path, typer.Option("--repo", help="A checkout of the GitOps repository.")]
Base = Annotated[str, typer.Option("--base", help="The revision to compare with, for instance origin/main.")]
ChartDirs = Annotated[
    list[Path] | None, typer.Option("--chart", help="A chart's folder, once per release; without it the bundled one.")
]
CellFiles = Annotated[
    list[Path] | None, typer.Option("--cell-values", help="A cell's values (YAML), once per cell; else placeholders.")
]

_SENTENCES = {
    "gitops_extra_missing": "Python module {module} is missing: install openclaw-cloud with its extra [gitops]",
    "git_knows_no_such_thing": "git: {reason}",
    "no_such_file": "there is no file {path} in this checkout",
    "cell_values_wrong": "{file} does not hold a cell's values: {reason}",
    "chart_does_not_load": "{chart} is no chart: {reason}",
}


@app.command()
def validate(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files or folders; without them and --base: all.")] = None,
    base: Annotated[str | None, typer.Option("--base", help="Judge what changed since this revision.")] = None,
    repo: Repo = Path(),
    chart: ChartDirs = None,
    cell_values: CellFiles = None,
    pull_request: Annotated[
        bool, typer.Option("--pull-request", help="All commits since --base are people's: refuse a Job-Id.")
    ] = False,
) -> None:
    """Say what is wrong with box files, one line each, and exit with 1 if anything is.

    What the platform will put right by itself, such as a volume that a revert would shrink, is told, no more.
    """
    if paths and base is not None:
        raise typer.BadParameter("give either paths or --base")
    if pull_request and base is None:
        raise typer.BadParameter("--pull-request needs --base")
    with answered():
        reviewer = _reviewer(repo, chart, cell_values)
        if base is not None:
            review = reviewer.since(reviewer.tree.base(base), people_only=pull_request)
        else:
            asked = (
                [name for path in paths for name in reviewer.tree.relative(path)] if paths else reviewer.tree.boxes()
            )
            review = reviewer.files(asked)
    for finding in review.findings:
        typer.echo(finding)
    for correction in review.corrections:
        typer.echo(f"will be corrected: {correction}")
    told = f"{review.files} files, {review.boxes} boxes: {len(review.findings) or 'no'} findings"
    typer.echo(told, err=bool(review.findings))
    raise typer.Exit(1 if review.findings else 0)


@app.command()
def render(
    path: Annotated[Path, typer.Argument(help="A box's file.")],
    repo: Repo = Path(),
    chart: ChartDirs = None,
    cell_values: CellFiles = None,
) -> None:
    """Print the Kubernetes objects that Argo CD makes of a box, as YAML."""
    from controller.gitops import rendering, validation

    with answered():
        reviewer = _reviewer(repo, chart, cell_values)
        (name, *_) = reviewer.tree.relative(path)
        file, findings = validation.read(name, reviewer.tree.on_disk(name) or b"")
        objects = reviewer.render(file) if file else []
    if file is None:
        for finding in findings:
            typer.echo(finding, err=True)
        raise typer.Exit(1)
    typer.echo("---\n".join(map(rendering.dump, objects)), nl=False)


@app.command()
def diff(
    base: Base,
    repo: Repo = Path(),
    chart: ChartDirs = None,
    cell_values: CellFiles = None,
) -> None:
    """Print what changed boxes become in the cluster, as the Markdown of a comment on the pull request."""
    from controller.gitops import rendered_diff

    with answered():
        reviewer = _reviewer(repo, chart, cell_values)
        text = rendered_diff.comment(reviewer, reviewer.tree.base(base))
    typer.echo(text, nl=False)


def _reviewer(repo: Path, charts: list[Path] | None, cells: list[Path] | None) -> Reviewer:
    from controller.core.settings import load
    from controller.domain.lifecycle import LifecycleSettings
    from controller.gitops.chart import CHART_DIR
    from controller.gitops.rendering import Cells, Charts
    from controller.gitops.reviews import Reviewer
    from controller.gitops.worktree import Worktree

    after = load(LifecycleSettings).retire_after
    return Reviewer(Worktree(repo), Charts(charts or [CHART_DIR]), Cells(cells or ()), after)


@contextmanager
def answered() -> Iterator[None]:
    """What cannot be answered ends the command with one line and exit code 2."""
    try:
        yield
    except CloudError as error:
        sentence = _SENTENCES.get(error.code)
        typer.echo(f"openclaw-cloud: {sentence.format(**error.facts) if sentence else error}", err=True)
        raise typer.Exit(2) from error
