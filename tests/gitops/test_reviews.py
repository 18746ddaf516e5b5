"""A change to the GitOps repository is judged as its merge would be: what people may do passes, all else is told."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from controller.cli import app
from controller.gitops import manifests
from controller.gitops.chart import CHART_DIR
from controller.gitops.rendering import PLACEHOLDERS
from controller.gitops.steps import HOW_TO_END
from tests.gitops import remotes
from tests.gitops.checkouts import BOX, JOB, PATH, Checkout, content

Edit = Callable[[Checkout], object]
OTHER = "01kb0t7m8c9d0e1f2g3h4j5k6q"


KEPT = {"release": "2026.11.1", "rev": 1}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "gitops")


def add(path: str, data: bytes) -> Edit:
    return lambda checkout: checkout.write(path, data)


def edit(old: str, new: str) -> Edit:
    return lambda checkout: checkout.edit(old, new)


def append(text: str) -> Edit:
    return lambda checkout: checkout.write(PATH, content() + text.encode())


def link(checkout: Checkout) -> None:
    (checkout.folder / PATH).unlink()
    (checkout.folder / PATH).symlink_to(checkout.folder / "README.md")


ALLOWED: dict[str, Edit] = {
    "more memory": edit("overrides: {}", "overrides: {memory_limit_mib: 4096}"),
    "a larger volume": edit("overrides: {}", "overrides:\n  volume_gib: 30  # they asked"),
    "suspended": edit('state: "active"', 'state: "suspended"'),
    "condemned": edit('state: "active"', 'state: "condemned"'),
    "a smaller plan, which keeps its volume": edit('plan: "pro"', 'plan: "starter"'),
    "another language": edit('locale: "pt-BR"', 'locale: "en"'),
    "a new box": add(manifests.path("eu1-a", OTHER), content(OTHER, rev=1)),
    "a text": add("cells/eu1-a/README.md", b"# eu1-a\n"),
    "a file elsewhere": add("docs/notes.md", b"nothing\n"),
}
REFUSED: dict[str, tuple[str, Edit]] = {
    "a typo": ("schema", edit("niche:", "nieche:")),
    "a plan that we do not sell": ("schema", edit('"pro"', '"gold"')),
    "a number in quotes": ("schema", edit("ring: 2", 'ring: "2"')),
    "no overrides": ("schema", edit("overrides: {}\n", "")),
    "an unquoted string": ("quoted", edit('"pro"', "pro")),
    "an octal number": ("quoted", edit("ring: 2", "ring: 02")),
    "a key twice": ("duplicate-key", edit("  ring: 2", "  ring: 2\n  ring: 3")),
    "an anchor": ("plain-yaml", edit('"pro"', '&plan "pro"')),
    "a tag": ("plain-yaml", edit("ring: 2", "ring: !!int 2")),
    "half a string": ("yaml", edit('"pro"', '"pro')),
    "a second document": ("yaml", append("---\n{}\n")),
    "a huge file": ("size", append("# x\n" * 10_000)),
    "another id": ("id", edit(f'id: "{BOX}"', f'id: "{OTHER}"')),
    "another customer": ("metadata", edit('customer: "01kb', 'customer: "01kc')),
    "the wrong folder": ("shard", add(f"cells/eu1-a/boxes/00/{OTHER}.yaml", content(OTHER, rev=1))),
    "a stray file": ("place", add("cells/eu1-a/boxes/notes.yaml", b"a: 1\n")),
    "the same box in another cell": ("twin", add(manifests.path("us1-a", BOX), content(rev=1))),
    "a new rev": ("rev", edit("rev: 7", "rev: 8")),
    "an old rev": ("rev", edit("rev: 7", "rev: 6")),
    "a new box with a past": ("rev", add(manifests.path("eu1-a", OTHER), content(OTHER, rev=2))),
    "a new box that is over": ("state", add(manifests.path("eu1-a", OTHER), content(OTHER, rev=1, state="condemned"))),
    "a secret's version": ("owner", edit("telegram: 1", "telegram: 2")),
    "a profile": ("owner", edit("profile: 1", "profile: 2")),
    "a snapshot": ("owner", edit("  ring: 2", '  snapshot: {release: "2026.11.1", rev: 3}\n  ring: 2')),
    "volumes": ("volumes", edit("  ring: 2", "  volumes: {used: {rev: 0}, given_up: 3}\n  ring: 2")),
    "a new box with volumes": (
        "volumes",
        add(manifests.path("eu1-a", OTHER), content(OTHER, rev=1, volumes={"used": {"rev": 0}, "given_up": 3})),
    ),
    "a new box with a snapshot": (
        "snapshot",
        add(manifests.path("eu1-a", OTHER), content(OTHER, rev=1, snapshot=KEPT)),
    ),
    "straight to destroyed": ("state", edit('state: "active"', 'state: "destroyed"')),
    "deletion of a running box": ("deletion", edit('deletion: "held"', 'deletion: "approved"')),
    "a smaller volume": ("volume", edit("overrides: {}", "overrides: {volume_gib: 5}")),
    "a plan without its volume": ("plan-volume", edit('"pro"', '"team"')),
    "a request above its limit": ("request-limit", edit("overrides: {}", "overrides: {cpu_request_milli: 9000}")),
    "a niche that the chart lacks": ("render", edit('"pharmacy"', '"bakery"')),
    "a release that is not at hand": ("render", edit('"2026.11.1"', '"2026.12.1"')),
    "a secret in a comment": ("no-secrets", append("# 12345678:" + "A" * 35 + "\n")),
    "a secret elsewhere": ("no-secrets", add("docs/notes.md", b"key: sk_live_" + b"a" * 24)),
    "a secret as a file's name": ("no-secrets", add("docs/ghp_" + "a" * 36, b"")),
    "a link": ("plain-file", link),
    "a removed file": ("file-removed", lambda checkout: (checkout.folder / PATH).unlink()),
}


@pytest.mark.parametrize("change", ALLOWED)
def test_what_people_may_do_passes(checkout: Checkout, change: str) -> None:
    ALLOWED[change](checkout)
    checkout.commit()
    result = checkout.run("validate", "--base", "main", "--pull-request")
    assert (result.exit_code, result.stdout.splitlines()[-1].endswith("no findings")) == (0, True), result.stdout


@pytest.mark.parametrize("change", REFUSED)
def test_what_must_not_be_merged_is_told_by_its_rule(checkout: Checkout, change: str) -> None:
    rule, make = REFUSED[change]
    make(checkout)
    assert checkout.rules() == [rule]
    checkout.commit()
    assert checkout.rules() == [rule]


def test_a_finding_is_one_line_with_place_sentence_and_rule(checkout: Checkout) -> None:
    checkout.edit('plan: "pro"', "plan: pro")
    result = checkout.run("validate", "--base", "main")
    assert result.exit_code == 1
    sentence = "spec.plan must be in quotes if it is a string, and a plain decimal if it is a number"
    assert result.stdout == f"{PATH}:10: {sentence} (quoted)\n"


def test_who_removes_a_file_is_told_how_to_end_a_box(checkout: Checkout) -> None:
    (checkout.folder / PATH).unlink()
    assert HOW_TO_END in checkout.run("validate", "--base", "main").stdout


def test_no_finding_repeats_a_secret(checkout: Checkout) -> None:
    secret = "ghp_" + "Zz9" * 12
    checkout.write(f"docs/{secret}.md", secret.encode())
    checkout.edit('"pro"', f'"{secret}"')
    checkout.commit(f"add {secret}")
    result = checkout.run("validate", "--base", "main")
    assert result.exit_code == 1
    assert secret not in result.output


def test_a_secret_that_a_later_commit_takes_out_is_still_found(checkout: Checkout) -> None:
    checkout.write("notes.md", b"oc_agent_" + BOX.encode() + b"_" + b"x" * 43)
    checkout.commit()
    checkout.write("notes.md", b"nothing\n")
    checkout.commit()
    assert checkout.rules() == ["no-secrets"]


def test_a_secret_in_a_message_is_found(checkout: Checkout) -> None:
    checkout.edit("overrides: {}", "overrides: {memory_limit_mib: 4096}")
    checkout.commit("ops: use glpat-" + "a" * 20)
    assert checkout.rules() == ["no-secrets"]


def test_the_platform_may_number_and_ops_may_go_on_from_there(checkout: Checkout) -> None:
    checkout.edit("rev: 7", "rev: 8")
    checkout.edit("profile: 1", "profile: 2")
    checkout.commit(f"box: profile\n\n{JOB}")
    checkout.edit("overrides: {}", "overrides: {memory_limit_mib: 4096}")
    checkout.commit()
    assert checkout.rules() == []


def resized(checkout: Checkout) -> None:
    """The platform resized the box, and that is in ``main``."""
    for old, new in (("rev: 7", "rev: 8"), ('"pro"', '"team"'), ("volume_gib: 10", "volume_gib: 20")):
        checkout.edit(old, new)
    checkout.commit(f"box: resize\n\n{JOB}")
    remotes.git(checkout.folder, "branch", "--force", "main")


def test_a_revert_of_a_resize_passes_and_tells_what_will_be_corrected(checkout: Checkout) -> None:
    resized(checkout)
    remotes.git(checkout.folder, "revert", "--no-edit", "HEAD")
    result = checkout.run("validate", "--base", "main")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "1 files, 1 boxes: no findings")
    assert "will be corrected" in result.stdout
    assert "a volume never shrinks, so spec.volume_gib will be 20 again (volume)" in result.stdout
    assert "spec.rev is set by the platform alone and moves on to the next number (rev)" in result.stdout


def test_a_smaller_volume_in_spec_refuses_nothing_and_an_old_rev_by_hand_does(checkout: Checkout) -> None:
    resized(checkout)
    checkout.edit('"team"', '"pro"')
    checkout.edit("volume_gib: 20", "volume_gib: 12")
    assert checkout.rules() == ["volume"]
    assert checkout.run("validate", "--base", "main").exit_code == 0
    checkout.edit("rev: 8", "rev: 7")
    assert checkout.run("validate", "--base", "main").exit_code == 1


def test_the_platform_must_not_touch_overrides(checkout: Checkout) -> None:
    checkout.edit("overrides: {}", "overrides: {memory_limit_mib: 4096}")
    checkout.commit(f"box: profile\n\n{JOB}")
    assert checkout.rules() == ["owner"]


@pytest.mark.parametrize(
    ("trailers", "rules"),
    [
        ("Action: upgrade\nActor: rollout:admin", []), ("Action: reactivate\nActor: admin", []),
        ("Action: suspend\nActor: ops:a@b.example", []), ("Action: suspend\nActor: stripe", ["release"]),
        ("Action: a\tb\nActor: \t", ["release"]), ("Box: x", ["release"]),
    ],
    ids=str,
)  # fmt: skip
def test_the_platform_changes_a_release_only_by_a_job_that_may(
    checkout: Checkout, trailers: str, rules: list[str]
) -> None:
    for old, new in (("2026.11.1", "2026.12.1"), ("2026.12.1", "2026.11.1")):
        checkout.edit(f'release: "{old}"', f'release: "{new}"')
        checkout.commit(f"box: a release\n\n{JOB}\n{trailers}")
    checkout.edit("overrides: {}", "overrides: {memory_limit_mib: 4096}")
    checkout.commit()
    assert checkout.rules() == rules


def test_a_pull_request_cannot_pass_for_the_platform(checkout: Checkout) -> None:
    checkout.edit("rev: 7", "rev: 8")
    checkout.commit(f"ops: mine\n\n{JOB}")
    assert checkout.rules("--pull-request") == ["job-id"]


def test_a_change_behind_main_is_held_only_to_what_it_changes_itself(checkout: Checkout) -> None:
    checkout.edit("overrides: {}", "overrides: {memory_limit_mib: 4096}")
    checkout.commit()
    remotes.git(checkout.folder, "checkout", "--quiet", "main")
    checkout.edit("rev: 7", "rev: 8")
    checkout.commit(f"box: profile\n\n{JOB}")
    remotes.git(checkout.folder, "checkout", "--quiet", "change")
    assert checkout.rules("--pull-request") == []


def test_a_destroyed_box_needs_its_approval_in_main_first(checkout: Checkout) -> None:
    checkout.edit('state: "active"', 'state: "condemned"')
    checkout.edit('deletion: "held"', 'deletion: "approved"')
    assert checkout.rules() == ["deletion"]


def test_the_platform_retires_the_file_of_a_box_that_was_destroyed_long_enough_ago(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.write(PATH, content(state="destroyed", deletion="approved"))
    remotes.git(checkout.folder, "checkout", "--quiet", "-B", "main")
    checkout.commit()
    remotes.git(checkout.folder, "checkout", "--quiet", "-b", "retire")
    (checkout.folder / PATH).unlink()
    assert checkout.rules() == ["file-removed"]
    checkout.commit(f"retire\n\n{JOB}\nAction: retire")
    assert checkout.rules() == ["file-removed"], "a week has to pass"
    monkeypatch.setenv("RETIRE_AFTER", "PT0S")
    assert checkout.rules() == []


def test_no_other_verb_of_the_platforms_removes_a_file(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETIRE_AFTER", "PT0S")
    checkout.write(PATH, content(state="destroyed", deletion="approved"))
    remotes.git(checkout.folder, "checkout", "--quiet", "-B", "main")
    checkout.commit()
    remotes.git(checkout.folder, "checkout", "--quiet", "-b", "erase")
    (checkout.folder / PATH).unlink()
    checkout.commit(f"erase\n\n{JOB}\nAction: erase")
    assert checkout.rules() == ["file-removed"]


def changed_chart(folder: Path, old: str, new: str) -> str:
    chart = folder / "box"
    shutil.copytree(CHART_DIR, chart, ignore=shutil.ignore_patterns("node_modules", "image"))
    agent = chart / "templates/agent.yaml"
    assert old in agent.read_text()
    agent.write_text(agent.read_text().replace(old, new))
    return str(chart)


def test_a_chart_that_got_worse_fails_a_box_by_the_rule(checkout: Checkout, tmp_path: Path) -> None:
    chart = changed_chart(tmp_path, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    result = checkout.run("validate", on_disk(checkout), "--chart", chart)
    sentence = "Deployment/agent container agent lacks readOnlyRootFilesystem: true"
    assert result.stdout == f"{PATH}:1: {sentence} (read-only-root)\n"


def test_a_mistyped_field_of_kubernetes_is_told(checkout: Checkout, tmp_path: Path) -> None:
    chart = changed_chart(tmp_path, "progressDeadlineSeconds:", "progresDeadlineSeconds:")
    result = checkout.run("validate", on_disk(checkout), "--chart", chart)
    assert "progresDeadlineSeconds" in result.stdout
    assert result.stdout.count("(kubernetes-schema)") == 1


def on_disk(checkout: Checkout) -> str:
    return str(checkout.folder / PATH)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["validate", "--base", "nowhere"], "git: no revision nowhere here"),
        (["validate", "--base", "--output=x"], "no revision --output=x here"),
        (["validate", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (["diff", "--base", "nowhere"], "no revision nowhere"),
        (["validate", "--chart", "nowhere"], "nowhere is no chart"),
        (["validate", "--cell-values", "nowhere"], "nowhere does not hold a cell's values"),
    ],
)
def test_a_question_without_an_answer_ends_with_one_line_and_2(
    checkout: Checkout, arguments: list[str], said: str
) -> None:
    result = checkout.run(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr


def test_a_folder_that_is_no_repository_ends_with_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["gitops", "validate", "--repo", str(tmp_path)])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "not a git repository" in result.stderr


def test_render_prints_the_same_objects_twice(checkout: Checkout) -> None:
    first, second = (checkout.run("render", on_disk(checkout)) for _ in range(2))
    assert first.exit_code == 0
    assert first.stdout == second.stdout
    assert first.stdout.count("\nkind: ") + first.stdout.startswith("kind: ") == 12


def test_the_comment_shows_fields_and_rendered_lines(checkout: Checkout) -> None:
    checkout.edit("overrides: {}", "overrides: {memory_limit_mib: 4096}")
    result = checkout.run("diff", "--base", "main")
    assert result.exit_code == 0
    assert "| `overrides.memory_limit_mib` | – | `4096` |" in result.stdout
    assert "+            memory: 4096Mi" in result.stdout
    assert "<summary>ResourceQuota/box: changed</summary>" in result.stdout


def test_the_comment_of_many_boxes_stays_within_what_a_comment_may_hold(checkout: Checkout) -> None:
    for number in range(10, 22):
        box = f"{OTHER[:-2]}{number}"
        checkout.write(manifests.path("eu1-a", box), content(box, rev=1))
    text = checkout.run("diff", "--base", "main").stdout
    assert len(text) < 65_536
    assert "more, too long for a comment" in text


def test_the_comment_says_when_there_is_nothing_to_say(checkout: Checkout) -> None:
    assert "No box file changes." in checkout.run("diff", "--base", "main").stdout


def test_without_the_engine_the_answer_says_what_to_install(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "helm_python", None)
    result = checkout.run("validate", "--base", "main")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "install openclaw-cloud with its extra [gitops]" in result.stderr


def test_real_values_of_a_cell_stand_in_what_is_rendered(checkout: Checkout, tmp_path: Path) -> None:
    values = tmp_path / "eu1-a.yaml"
    values.write_text(yaml.safe_dump({"name": "eu1-a", **PLACEHOLDERS, "runtime_class": "gvisor"}))
    result = checkout.run("render", on_disk(checkout), "--cell-values", str(values))
    assert "runtimeClassName: gvisor" in result.stdout
