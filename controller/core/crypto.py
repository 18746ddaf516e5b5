"""Sealing (envelope encryption) and the hashes under which tokens are stored and found."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from controller.core.errors import Permanent

_NONCE = 12
_KEY = 32


class SealError(Permanent):
    """Raised when a sealed value does not open: wrong key, wrong place or changed bytes."""


@dataclass(frozen=True)
class Sealed:
    """A value encrypted with a key of its own, and that key encrypted with ours."""

    wrapped_key: bytes
    ciphertext: bytes


class Sealer:
    """Seals short secrets with AES-256-GCM, one data key each.

    ``context`` names the place of the secret (``box|name|version``): a value moved elsewhere does not open.
    """

    def __init__(self, key: str) -> None:
        """``key`` is 32 bytes in URL-safe base64. Raises SealError if it is not."""
        try:
            # the lenient decoder would skip a stray character and take what follows the padding
            raw = base64.b64decode(key, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as exc:
            raise SealError("sealing_key_malformed") from exc
        if len(raw) != _KEY:
            raise SealError("sealing_key_malformed")
        self._key = AESGCM(raw)

    def seal(self, plain: str, context: str) -> Sealed:
        """``plain`` sealed for ``context``."""
        data_key = AESGCM.generate_key(bit_length=_KEY * 8)
        return Sealed(
            wrapped_key=_encrypt(self._key, data_key, context),
            ciphertext=_encrypt(AESGCM(data_key), plain.encode(), context),
        )

    def open(self, sealed: Sealed, context: str) -> str:
        """What was sealed for ``context``.

        Raises SealError if the key, the context or a byte differs.
        """
        try:
            data_key = _decrypt(self._key, sealed.wrapped_key, context)
            return _decrypt(AESGCM(data_key), sealed.ciphertext, context).decode()
        except (InvalidTag, ValueError) as exc:
            raise SealError("sealed_value_refused") from exc


def new_key() -> str:
    """A fresh sealing key: 32 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(os.urandom(_KEY)).decode()


def lookup(pepper: str, token: str) -> str:
    """The hex name under which a token is found: HMAC-SHA256 keyed with the pepper."""
    return hmac.digest(pepper.encode(), token.encode(), "sha256").hex()


def same(left: str, right: str) -> bool:
    """Whether two secrets are equal, in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def _encrypt(key: AESGCM, plain: bytes, context: str) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + key.encrypt(nonce, plain, context.encode())


def _decrypt(key: AESGCM, data: bytes, context: str) -> bytes:
    return key.decrypt(data[:_NONCE], data[_NONCE:], context.encode())
