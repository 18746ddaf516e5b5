"""Commits signed with an SSH key, as ``git commit -S`` signs them: fast-import, which builds ours, cannot.

The form is OpenSSH's PROTOCOL.sshsig, made in this process: ``ssh-keygen`` would be started once for each commit.
"""

from __future__ import annotations

import base64
import hashlib
import textwrap

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAGIC = b"SSHSIG"
_NAMESPACE = b"git"
_HASH = "sha512"


def read_key(text: str) -> Ed25519PrivateKey:
    """The key that ``ssh-keygen -t ed25519`` wrote.

    Raises ValueError for another kind of key, or one behind a passphrase; its text is not repeated.
    """
    try:
        key = serialization.load_ssh_private_key(text.strip().encode() + b"\n", password=None)
    except (ValueError, TypeError):
        raise ValueError("is no SSH private key that opens without a passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("is no ed25519 key")
    return key


def chain(commits: list[bytes], key: Ed25519PrivateKey) -> list[bytes]:
    """The contents of ``commits``, each the parent of the next, signed: each names its signed parent."""
    signed: list[bytes] = []
    for number, content in enumerate(commits):
        if number:
            content = _with_parent(content, sha(signed[-1], like=_parent(content)))
        signed.append(_with_header(content, sign(content, key)))
    return signed


def sign(content: bytes, key: Ed25519PrivateKey) -> str:
    """The armoured signature of ``content`` that ``git verify-commit`` and ``ssh-keygen -Y verify`` accept."""
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    about = _string(_NAMESPACE) + _string(b"") + _string(_HASH.encode())
    proof = key.sign(_MAGIC + about + _string(hashlib.new(_HASH, content).digest()))
    kind = _string(b"ssh-ed25519")
    blob = _MAGIC + (1).to_bytes(4, "big") + _string(kind + _string(public)) + about + _string(kind + _string(proof))
    lines = textwrap.wrap(base64.b64encode(blob).decode(), 70)
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----"])


def sha(content: bytes, *, like: str) -> str:
    """The name of the commit, by the hash of the repository that the name ``like`` is from."""
    made = hashlib.sha256() if len(like) == 64 else hashlib.sha1(usedforsecurity=False)
    made.update(b"commit %d\0" % len(content) + content)
    return made.hexdigest()


def _parent(content: bytes) -> str:
    (line,) = [line for line in content.partition(b"\n\n")[0].split(b"\n") if line.startswith(b"parent ")]
    return line.split()[1].decode()


def _with_parent(content: bytes, parent: str) -> bytes:
    return content.replace(f"parent {_parent(content)}".encode(), f"parent {parent}".encode(), 1)


def _with_header(content: bytes, signature: str) -> bytes:
    head, _, message = content.partition(b"\n\n")
    name = b"gpgsig-sha256" if len(_parent(content)) == 64 else b"gpgsig"
    return head + b"\n" + name + b" " + signature.replace("\n", "\n ").encode() + b"\n\n" + message


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
