"""The writer at an HTTPS remote: let in by its token, told why when it is not, leaking nothing."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from controller.gitops.commands import AccessDenied
from controller.gitops.remotes import GitSettings
from controller.gitops.repository import Commit, PushRefused, PushRejected, RemoteAway, Repository
from tests import certificates
from tests.gitops import remotes
from tests.gitops.hosts import HttpHost

CHANGE = Commit({"a.yaml": b"a: 1\n"}, "change\n\nJob-Id: 1\n")


@pytest.fixture
def host(remote: Path) -> Iterator[HttpHost]:
    """A host that serves the remote and takes pushes."""
    remotes.git(remote, "config", "http.receivepack", "true")
    with HttpHost(remote.parent).running() as host:
        yield host


def at(host: HttpHost, clone: Path, token: str = "right", **more: object) -> Repository:
    given = {"git_user": "writer", "git_token": SecretStr(token), "git_clone_dir": clone} | more
    return Repository(GitSettings.model_validate({"git_remote": f"{host.url}/remote.git"} | given))


def push_one(repository: Repository, change: Commit = CHANGE) -> str:
    (sha,) = repository.chain(repository.fetch(), [change])
    repository.push(sha)
    return sha


def test_a_push_over_http_lands(host: HttpHost, remote: Path, tmp_path: Path) -> None:
    assert push_one(at(host, tmp_path / "clone.git")) == remotes.git(remote, "rev-parse", "main")


def test_a_certificate_is_believed_when_it_is_named_and_not_otherwise(remote: Path, tmp_path: Path) -> None:
    remotes.git(remote, "config", "http.receivepack", "true")
    certificate = certificates.create(tmp_path)
    with HttpHost(remote.parent, certificate).running() as host:
        with pytest.raises(AccessDenied) as caught:
            at(host, tmp_path / "clone.git").fetch()
        assert (caught.value.code, host.saw) == ("git_host_unverified", [])
        trusting = at(host, tmp_path / "clone.git", git_ca_file=certificate.chain)
        assert push_one(trusting) == remotes.git(remote, "rev-parse", "main")


@pytest.mark.parametrize("token", ["wrong", ""])
def test_a_token_that_is_wrong_makes_the_writer_wait(host: HttpHost, tmp_path: Path, token: str) -> None:
    with pytest.raises(AccessDenied) as caught:
        at(host, tmp_path / "clone.git", token).fetch()
    assert caught.value.code == "git_access_denied"


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_ran_out_is_no_jobs_fault(host: HttpHost, tmp_path: Path, status: int) -> None:
    repository = at(host, tmp_path / "clone.git")
    (sha,) = repository.chain(repository.fetch(), [CHANGE])
    host.status = status
    for ask in (repository.fetch, lambda: repository.push(sha)):
        with pytest.raises(AccessDenied):
            ask()
    host.status = None
    repository.push(sha)
    assert repository.fetch() == sha


@pytest.mark.parametrize("status", [404, 429, 500, 502, 503])
def test_a_host_in_trouble_is_away(host: HttpHost, tmp_path: Path, status: int) -> None:
    repository = at(host, tmp_path / "clone.git")
    (sha,) = repository.chain(repository.fetch(), [CHANGE])
    host.status = status
    with pytest.raises(RemoteAway) as caught:
        repository.push(sha)
    assert caught.value.code == "git_remote_away"


def test_a_host_that_hangs_is_given_up(host: HttpHost, tmp_path: Path) -> None:
    host.hangs.clear()
    with pytest.raises(RemoteAway):
        at(host, tmp_path / "clone.git", git_timeout=timedelta(seconds=0.5)).fetch()


def test_a_hook_and_a_race_are_told_over_http_as_on_the_disk(host: HttpHost, remote: Path, tmp_path: Path) -> None:
    repository = at(host, tmp_path / "clone.git")
    (late,) = repository.chain(repository.fetch(), [CHANGE])
    remotes.commit(remote, {"b.yaml": b"b: 1\n"}, "ops")
    with pytest.raises(PushRejected):
        repository.push(late)
    remotes.refuse_every_push(remote, "authentication failed: certificate missing")
    with pytest.raises(PushRefused, match="certificate missing"):
        push_one(repository)


def test_the_token_is_in_no_argument_no_file_and_no_error(
    host: HttpHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(trace))
    host.password = "s3cret-t0ken"
    repository = at(host, tmp_path / "clone.git", host.password)
    push_one(repository)
    encoded = base64.b64encode(b"writer:s3cret-t0ken").decode()
    host.status, host.says = 403, f"s3cret-t0ken {encoded} https://ana:pass@host/".encode()
    with pytest.raises(AccessDenied) as caught:
        repository.fetch()
    files = [path.read_bytes() for path in (trace, *(tmp_path / "clone.git").rglob("*")) if path.is_file()]
    told = b"\n".join([*files, "".join(traceback.format_exception(caught.value)).encode()])
    assert [word for word in (b"s3cret", encoded.encode(), b":pass@") if word in told] == []
    assert b"***" in told


def test_the_token_goes_to_no_other_host(host: HttpHost, remote: Path, tmp_path: Path) -> None:
    with HttpHost(remote.parent).running() as other:
        host.moved_to = other.url
        with pytest.raises(AccessDenied):
            at(host, tmp_path / "clone.git").fetch()
    assert set(other.saw) == {""}
