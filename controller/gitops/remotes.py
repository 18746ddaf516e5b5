"""Where the GitOps repository is, and how git proves there who we are.

A credential travels in the environment of those git processes that speak to the remote, or in a file that only this
account may read and that is gone when they end: never in an address, an argument, the clone's config or an error.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from controller.core.settings import Group
from controller.gitops import children, signatures
from controller.gitops.commands import Access

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_SSH = (
    "ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=yes"
    " -o GlobalKnownHostsFile=/dev/null -o UpdateHostKeys=no -o ConnectTimeout=10 -o ServerAliveInterval=10"
)
# the shell's own printf: no process has the secret among its arguments
_HELPER = '!f() { if test "$1" = get; then printf "username=%s\\npassword=%s\\n" "$GIT_USER" "$GIT_TOKEN"; fi; }; f'


class GitSettings(Group):
    """The GitOps repository, who we are there, and where this process keeps its clone."""

    git_remote: str
    """A path, or an address: ``https://…``, ``ssh://git@…``, ``git@host:path``. One that holds a password or token is
    refused at the start, because it is logged."""

    git_clone_dir: Path
    """The bare clone: a cache, made again when it is missing or broken."""

    git_timeout: timedelta = Field(default=timedelta(seconds=30), gt=timedelta(0))
    """For one git command. 30 s: far above a slow host. At most 50 s, half of a writer's round (``children.LIMIT``):
    a command that hangs must end as one, and leave time to write down what became of the jobs."""

    git_most_packs: int = Field(default=32, ge=4)
    """Packs that the clone may hold before they are merged, a hundred loose objects counting as one. 32: a merge then
    comes every 30 batches or 600 single jobs, and no batch looks into more."""

    git_author_name: str = "openclaw-cloud"
    git_author_email: str = "gitops@openclaw.cloud"

    git_user: str = "x-access-token"
    """The name that goes with ``git_token``: GitHub's for an app's token. GitLab takes any."""

    git_token: SecretStr | None = None
    """Token or password for an ``https`` remote. Without it git asks as nobody, which few hosts let push."""

    git_ca_file: Path | None = None
    """Certificates to trust for an ``https`` remote instead of the machine's. Off when empty."""

    git_known_hosts: str = Field(default="", validate_default=True)
    """The lines of a known_hosts file that name the ``ssh`` remote, as ``ssh-keyscan`` prints them. An ``ssh`` remote
    has to be in it: a host that is new or has changed its key is refused, never believed."""

    git_ssh_key: SecretStr | None = Field(default=None, validate_default=True)
    """The private key for an ``ssh`` remote, without a passphrase, as ``ssh-keygen`` writes it."""

    git_signing_key: SecretStr | None = None
    """An ed25519 key without a passphrase, as ``ssh-keygen`` writes it, with which each commit of ours is signed. Off
    when not set. A key of its own: the host shows its commits as verified, and it opens nothing."""

    @field_validator("git_timeout")
    @classmethod
    def _ends_before_its_round(cls, timeout: timedelta) -> timedelta:
        longest = children.LIMIT / 2
        if timeout > longest:
            seconds = longest.total_seconds()
            raise ValueError(f"is longer than {seconds:g} s, half of the git writer's round, which would end it first")
        return timeout

    @field_validator("git_signing_key")
    @classmethod
    def _signs(cls, key: SecretStr | None) -> SecretStr | None:
        if key:
            signatures.read_key(key.get_secret_value())
        return key

    @field_validator("git_remote")
    @classmethod
    def _holds_no_credential(cls, remote: str) -> str:
        if not remote.isprintable() or remote.startswith("-"):
            raise ValueError("is no path and no address")
        if scheme(remote) not in {"file", "https", "http", "ssh"}:
            raise ValueError("is neither a path nor an https, http, ssh or file address")
        try:
            at = _split(remote)
        except ValueError:
            # in other words: the library's repeat the address
            raise ValueError("is no path and no address") from None
        if at.password is not None or (at.username is not None and at.scheme in {"https", "http"}):
            raise ValueError("holds a user or password: take them out, set GIT_USER and GIT_TOKEN, or GIT_SSH_KEY")
        if at.query or at.fragment:
            raise ValueError("has a query or fragment, where tokens hide: take it out")
        return remote

    @field_validator("git_user", "git_token")
    @classmethod
    def _is_one_word(cls, given: str | SecretStr | None) -> str | SecretStr | None:
        text = given.get_secret_value() if isinstance(given, SecretStr) else given or ""
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("has a space, a line break or a character that is no ASCII")
        return given

    @field_validator("git_token")
    @classmethod
    def _stays_secret_on_the_way(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        remote = info.data.get("git_remote", "")
        if token and scheme(remote) == "http" and _split(remote).hostname not in _LOOPBACK:
            raise ValueError("would travel in the clear: make GIT_REMOTE an https address")
        return token

    @field_validator("git_known_hosts")
    @classmethod
    def _names_the_host(cls, lines: str, info: ValidationInfo) -> str:
        if scheme(info.data.get("git_remote", "")) == "ssh" and not lines.strip():
            raise ValueError("is needed for an ssh remote: the lines that ssh-keyscan prints for its host")
        return lines

    @field_validator("git_ssh_key")
    @classmethod
    def _opens_the_remote(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if scheme(info.data.get("git_remote", "")) == "ssh" and not key:
            raise ValueError("is needed for an ssh remote")
        if key and "PRIVATE KEY-----" not in key.get_secret_value():
            raise ValueError("is no private key as ssh-keygen writes it")
        return key


def scheme(remote: str) -> str:
    """How git reaches the remote: ``file`` also for a path, ``ssh`` also for ``git@host:path``."""
    if "://" in remote:
        return remote.split("://", 1)[0].lower()
    before, colon, after = remote.split("/", 1)[0].partition(":")
    if not colon:
        return "file"
    return before if after.startswith(":") else "ssh"


@contextmanager
def access(settings: GitSettings) -> Iterator[Access]:
    """What git needs to be let in by the remote; what of it lay on the disk is gone after the block."""
    kind = scheme(settings.git_remote)
    if kind == "ssh":
        with tempfile.TemporaryDirectory(prefix="openclaw-ssh-") as folder:
            yield _by_key(settings, Path(folder))
    elif kind in {"https", "http"}:
        yield _by_token(settings)
    else:
        yield Access()


def _by_token(settings: GitSettings) -> Access:
    trusted = {"GIT_SSL_CAINFO": str(settings.git_ca_file)} if settings.git_ca_file else {}
    if not settings.git_token:
        return Access(environment=trusted)
    user, token = settings.git_user, settings.git_token.get_secret_value()
    at = _split(settings.git_remote)
    return Access(
        # for this host alone, wherever it may redirect to
        config=((f"credential.{at.scheme}://{at.netloc}.helper", _HELPER),),
        environment={"GIT_USER": user, "GIT_TOKEN": token, **trusted},
        secrets=(token, base64.b64encode(f"{user}:{token}".encode()).decode()),
    )


def _by_key(settings: GitSettings, folder: Path) -> Access:
    key = settings.git_ssh_key.get_secret_value() if settings.git_ssh_key else ""
    for name, text in (("key", key), ("known_hosts", settings.git_known_hosts)):
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            # ssh wants the line breaks that a trip through a variable or a form took away
            out.write(re.sub(r"\r\n?", "\n", text).strip() + "\n")
    files = f" -o UserKnownHostsFile={shlex.quote(str(folder / 'known_hosts'))} -i {shlex.quote(str(folder / 'key'))}"
    return Access(environment={"GIT_SSH_COMMAND": _SSH + files, "GIT_SSH_VARIANT": "ssh"})


def _split(remote: str) -> SplitResult:
    """The parts of the address; of a path or ``git@host:path`` only the path, which holds no credential."""
    return urlsplit(remote if "://" in remote else "")
