"""What a remote's settings must be: refused at the start with a sentence, never with the value."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from controller.core.settings import SettingsError, load
from controller.gitops import remotes
from controller.gitops.remotes import GitSettings

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


def configure(monkeypatch: pytest.MonkeyPatch, **given: str) -> GitSettings:
    for name, value in {"GIT_CLONE_DIR": "clone.git", **given}.items():
        monkeypatch.setenv(name, value)
    return load(GitSettings)


@pytest.mark.parametrize(
    ("remote", "scheme"),
    [
        ("/srv/git/boxes.git", "file"),
        ("boxes.git", "file"),
        ("./a:b/boxes.git", "file"),
        ("file:///srv/git/boxes.git", "file"),
        ("https://git.example/boxes.git", "https"),
        ("HTTPS://git.example/boxes.git", "https"),
        ("http://127.0.0.1:3000/boxes.git", "http"),
        ("ssh://git@git.example:2222/boxes.git", "ssh"),
        ("git@git.example:boxes.git", "ssh"),
        ("git.example:boxes.git", "ssh"),
    ],
)
def test_a_remote_is_a_path_or_an_address(monkeypatch: pytest.MonkeyPatch, remote: str, scheme: str) -> None:
    settings = configure(monkeypatch, GIT_REMOTE=remote, GIT_SSH_KEY=KEY, GIT_KNOWN_HOSTS="git.example ssh-ed25519 A")
    assert remotes.scheme(settings.git_remote) == scheme


@pytest.mark.parametrize(
    ("remote", "why"),
    [
        ("https://ana:hunter2@git.example/boxes.git", "holds a user or password"),
        ("https://hunter2@git.example/boxes.git", "holds a user or password"),
        ("https://:hunter2@git.example/boxes.git", "holds a user or password"),
        ("ssh://git:hunter2@git.example/boxes.git", "holds a user or password"),
        ("https://git.example/boxes.git?private_token=hunter2", "has a query"),
        ("https://git.example/boxes.git#hunter2", "has a query"),
        ("git://git.example/hunter2.git", "neither a path nor"),
        ("ext::sh -c hunter2", "neither a path nor"),
        ("--upload-pack=hunter2", "no path and no address"),
        ("https://git.example/hunter2\n.git", "no path and no address"),
        ("https://[hunter2/boxes.git", "no path and no address"),
    ],
)
def test_a_remote_with_a_credential_or_of_another_kind_stops_the_start_unrepeated(
    monkeypatch: pytest.MonkeyPatch, remote: str, why: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        configure(monkeypatch, GIT_REMOTE=remote)
    assert caught.value.facts["variable"] == "GIT_REMOTE"
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)


SSH = {"GIT_REMOTE": "git@git.example:boxes.git", "GIT_SSH_KEY": KEY, "GIT_KNOWN_HOSTS": "git.example ssh-ed25519 A"}
HTTPS = {"GIT_REMOTE": "https://git.example/boxes.git", "GIT_TOKEN": "t0ken"}


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        (SSH | {"GIT_KNOWN_HOSTS": " "}, "GIT_KNOWN_HOSTS"),
        (SSH | {"GIT_SSH_KEY": ""}, "GIT_SSH_KEY"),
        (SSH | {"GIT_SSH_KEY": "/run/secrets/key"}, "GIT_SSH_KEY"),
        (HTTPS | {"GIT_TOKEN": "two\npassword=lines"}, "GIT_TOKEN"),
        (HTTPS | {"GIT_USER": "ana maria"}, "GIT_USER"),
        (HTTPS | {"GIT_REMOTE": "http://git.example/boxes.git"}, "GIT_TOKEN"),
    ],
)
def test_what_is_missing_or_would_leak_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], variable: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        configure(monkeypatch, **given)
    assert caught.value.facts["variable"] == variable


def test_the_settings_print_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "t0ken" not in repr(configure(monkeypatch, **HTTPS))
    assert "AAAA" not in repr(configure(monkeypatch, **SSH))


def test_a_key_lies_on_the_disk_for_us_alone_and_only_while_git_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = configure(monkeypatch, **SSH | {"GIT_SSH_KEY": KEY.replace("\n", "\r\n")})
    with remotes.access(settings) as access:
        key = Path(access.environment["GIT_SSH_COMMAND"].split(" -i ")[1])
        assert key.read_text() == KEY + "\n"
        assert [stat.S_IMODE(os.stat(path).st_mode) for path in (key, key.parent)] == [0o600, 0o700]
    assert not key.parent.exists()


@pytest.mark.parametrize("settings", [HTTPS, SSH])
def test_no_argument_and_no_setting_of_git_holds_the_secret(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    with remotes.access(configure(monkeypatch, **settings)) as access:
        told = f"{access.config} {access.environment.get('GIT_SSH_COMMAND')}"
    assert "t0ken" not in told
    assert "AAAA" not in told


@pytest.mark.parametrize(
    ("told", "why"), [("PT51S", "longer than 50 s, half of the git writer's round"), ("PT0S", "greater than 0")]
)
def test_a_time_limit_that_the_writers_round_has_no_room_for_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, told: str, why: str
) -> None:
    assert configure(monkeypatch, GIT_REMOTE="boxes.git", GIT_TIMEOUT="PT50S").git_timeout.total_seconds() == 50
    with pytest.raises(SettingsError, match=why) as caught:
        configure(monkeypatch, GIT_REMOTE="boxes.git", GIT_TIMEOUT=told)
    assert caught.value.facts["variable"] == "GIT_TIMEOUT"
