"""Signed commits as git itself verifies them, and keys that cannot sign."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from controller.gitops import signatures
from controller.gitops.remotes import GitSettings
from controller.gitops.repository import Commit, Repository
from tests.gitops import remotes

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="git verifies with ssh-keygen")


def private(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> str:
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, lock).decode()


def verified(remote: Path, key: Ed25519PrivateKey, sha: str) -> bool:
    """What ``git verify-commit`` says when only ``key`` is trusted."""
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    trusted = remote.parent / "allowed"
    trusted.write_text(f'* namespaces="git" {public}\n')
    command = ["git", "-c", f"gpg.ssh.allowedSignersFile={trusted}", "verify-commit", sha]
    return subprocess.run(command, cwd=remote, capture_output=True, check=False).returncode == 0


def signing(remote: Path, key: Ed25519PrivateKey) -> Repository:
    settings = GitSettings(
        git_remote=str(remote), git_clone_dir=remote.parent / "clone.git", git_signing_key=SecretStr(private(key))
    )
    return Repository(settings)


def push(repository: Repository, *contents: str) -> list[str]:
    made = [Commit({"a.yaml": text.encode()}, f"{text}\n\nparent x\n\nJob-Id: {text}\n") for text in contents]
    shas = repository.chain(repository.fetch(), made)
    repository.push(shas[-1])
    return shas


@needs_ssh_keygen
@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_git_verifies_each_commit_of_a_chain_and_believes_no_other_key(tmp_path: Path, form: str) -> None:
    remotes.git(tmp_path, "init", "--quiet", "--bare", "-b", "main", f"--object-format={form}", "remote.git")
    remote = tmp_path / "remote.git"
    remotes.commit(remote, {"README.md": b"# boxes\n"}, "start")
    key = Ed25519PrivateKey.generate()
    shas = push(signing(remote, key), "one", "two", "três")
    assert [verified(remote, key, sha) for sha in shas] == [True, True, True]
    assert not verified(remote, Ed25519PrivateKey.generate(), shas[0])


def test_a_signed_chain_is_linear_whole_and_keeps_its_messages(remote: Path) -> None:
    repository = signing(remote, Ed25519PrivateKey.generate())
    base = repository.fetch()
    shas = push(repository, "one", "two", "three")
    assert remotes.git(remote, "rev-list", "--reverse", f"{base}..main").split() == shas
    jobs = repository.trailers(base, repository.fetch(), "Job-Id")
    assert list(jobs.items()) == list(zip(["three", "two", "one"], reversed(shas), strict=True))
    assert repository.read(shas[-1], ["a.yaml"]) == {"a.yaml": b"three"}
    assert remotes.git(remote, "fsck", "--strict") == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no SSH private key"),
        ("hunter2", "no SSH private key"),
        (private(ec.generate_private_key(ec.SECP256R1())), "no ed25519 key"),
        (private(Ed25519PrivateKey.generate(), b"hunter2"), "without a passphrase"),
    ],
    ids=["nothing", "a word", "another kind", "behind a passphrase"],
)
def test_a_key_that_cannot_sign_is_refused_unrepeated(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        signatures.read_key(text)
    assert "hunter2" not in str(caught.value)
