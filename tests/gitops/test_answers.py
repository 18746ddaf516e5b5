"""What remotes answer to a push: what it means for the batch, and what an admin reads of it."""

from __future__ import annotations

import pytest

from controller.gitops import answers
from controller.gitops.answers import Verdict

RULES = """
  stdout: 'To https://github.com/acme/boxes.git
!\tabc:refs/heads/main\t[remote rejected] (push declined due to repository rule violations)
Done'

  stderr: 'remote: error: GH013: Repository rule violations found for refs/heads/main.        
remote: 
remote: - Changes must be made through a pull request.        
remote: 
error: failed to push some refs to 'https://x-access-token:ghp_secret@github.com/acme/boxes.git''"""  # noqa: W291


def status(told: str, said: str = "") -> str:
    """Git's output for a push with that status."""
    return f"\n  stdout: 'To /srv/boxes.git\n!\tabc:refs/heads/main\t{told}\nDone'\n\n  stderr: '{said}'"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (RULES, Verdict.REFUSED),
        (status("[remote rejected] (pre-receive hook declined)"), Verdict.REFUSED),
        (status("[remote rejected] (hook declined)", "remote: please fetch first"), Verdict.REFUSED),
        (status("[remote rejected] (hook declined)", "remote: !\tx:y\t[rejected] (fetch first)"), Verdict.REFUSED),
        (status("[rejected] (fetch first)"), Verdict.MOVED),
        (status("[rejected] (non-fast-forward)"), Verdict.MOVED),
        (status("[remote rejected] (cannot lock ref 'refs/heads/main')"), Verdict.MOVED),
        (status("[remote rejected] (incorrect old value provided)"), Verdict.MOVED),
        (status("[remote rejected] (unpacker error)"), Verdict.AWAY),
        (status("[remote rejected] (Internal Server Error)"), Verdict.AWAY),
        (status("[remote failure] (remote failed to report status)"), Verdict.AWAY),
        ("\n  stderr: 'fatal: unable to access 'https://host/': Could not resolve host: host'", Verdict.AWAY),
        ("\n  stderr: 'remote: You are not allowed to push code to this project.'", Verdict.CLOSED),
        (status("[remote rejected] (x)", "remote: GH006: Protected branch update failed for x."), Verdict.CLOSED),
    ],
)
def test_an_answer_is_understood_by_gits_own_status(text: str, meant: Verdict) -> None:
    assert answers.verdict(text) == meant


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (RULES, "error: GH013: Repository rule violations found for refs/heads/main. - Changes must be made through"
                " a pull request."),
        (status("[remote rejected] (hook declined)"), "! abc:refs/heads/main [remote rejected] (hook declined)"),
        (status("x", "remote: \x1b[31;1mno\x1b[0m\x1b[K \x1b]0;title\x07way\x1b7"), "no way"),
        (status("x", "remote: a\0b\x08c\x9b\u202ed\udcffe\rremote: f"), "a b c d e f"),
        (status("x", "remote: ======\nremote: closed\nremote: ======"), "closed"),
        (status("x", "remote: see https://bot:s3cret@host/rules and ssh://git@host/x"),
         "see https://host/rules and ssh://host/x"),
        ("\n  stderr: 'fatal: unable to access 'https://bot:s3cret@host/x.git/': timed out'",
         "fatal: unable to access 'https://host/x.git/': timed out"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_remotes_words_are_shown_clean(text: str, read: str) -> None:
    assert answers.words(text) == read


def test_the_remotes_words_are_cut_after_the_credentials_are_gone() -> None:
    shown = answers.words("remote: " + "x" * 230 + " https://bot:" + "s" * 100 + "@host/ " + "y" * 9000)
    assert (len(shown), "sss" in shown) == (256, False)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("the repository is frozen", "the repository is frozen", True),
        ("frozen since 12:01:02", "frozen since 12:01:09", True),
        ("commit 0a1b2c3d4e is not signed", "commit ff00ff00ff is not signed", True),
        ("plan golden is not known", "plan silver is not known", False),
    ],
)
def test_refusals_are_alike_but_for_numbers_and_commits(first: str, second: str, same: bool) -> None:
    assert (answers.gist(first) == answers.gist(second)) == same
