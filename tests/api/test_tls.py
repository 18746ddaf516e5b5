"""The secret endpoint's TLS: trusted by its authority alone, and renewed without a restart."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from pydantic import SecretStr

from api import serve
from api.settings import SecretEndpointSettings
from api.tls import ENDS, Certificate
from controller.core import clock
from controller.core.settings import SettingsError, load

NAME = "secrets.openclaw-cloud"


class Authority:
    """An authority that signs certificates for the endpoint, into the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.chain, self.key = folder / "tls.crt", folder / "tls.key"
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the platform's authority")])
        self._own = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))

    def issue(self, days: int = 1) -> int:
        """Write a new certificate for so many days, and its key; its serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        made = self._signed(subject, key, x509.SubjectAlternativeName([x509.DNSName(NAME)]), days)
        form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        replace(self.chain, made.public_bytes(serialization.Encoding.PEM))
        replace(self.key, key.private_bytes(serialization.Encoding.PEM, *form))
        return made.serial_number

    def trusting(self) -> ssl.SSLContext:
        """A client that trusts this authority and no other."""
        pem = self._own.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, more: x509.ExtensionType, days: int = 1
    ) -> x509.Certificate:
        now = clock.now()
        made = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=days))
        return made.add_extension(more, critical=False).sign(self._key, hashes.SHA256())


def replace(file: Path, content: bytes) -> None:
    """In one step, as the kubelet does it."""
    fresh = file.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(file)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.issue()
    return made


@pytest.fixture
async def port(authority: Authority) -> AsyncIterator[int]:
    settings = SecretEndpointSettings(
        secrets_token=SecretStr("t" * 24), secrets_tls_cert=authority.chain, secrets_tls_key=authority.key
    )
    factory = serve.secrets_tls(settings)
    server = uvicorn.Server(uvicorn.Config(FastAPI(), ssl_context_factory=factory, log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listening:  # whoever comes early waits in its queue
        task = asyncio.create_task(server.serve(sockets=[listening]))
        yield listening.getsockname()[1]
        server.should_exit = True
        await task


async def shown(port: int, context: ssl.SSLContext, name: str = NAME) -> int:
    """The serial number of the certificate that a new connection gets."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(found).serial_number
    finally:
        writer.close()
        with contextlib.suppress(ssl.SSLError, OSError):
            await writer.wait_closed()


async def test_whoever_trusts_the_authority_reaches_the_endpoint(authority: Authority, port: int) -> None:
    serial = x509.load_pem_x509_certificate(authority.chain.read_bytes()).serial_number
    assert await shown(port, authority.trusting()) == serial


async def test_another_authority_or_name_is_not_believed(authority: Authority, port: int, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await shown(port, ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        await shown(port, authority.trusting(), "other.openclaw-cloud")


async def test_a_renewed_certificate_is_shown_to_the_next_who_connects(authority: Authority, port: int) -> None:
    before = await shown(port, authority.trusting())
    renewed = authority.issue()
    assert await shown(port, authority.trusting()) == renewed != before


async def test_a_renewal_that_cannot_be_read_leaves_the_old_certificate(authority: Authority, port: int) -> None:
    before = await shown(port, authority.trusting())
    authority.chain.write_text("half a certific")
    assert await shown(port, authority.trusting()) == before
    renewed = authority.issue()
    assert await shown(port, authority.trusting()) == renewed


async def test_prometheus_sees_when_the_certificate_ends_that_is_shown(authority: Authority, port: int) -> None:
    authority.issue(days=90)
    await shown(port, authority.trusting())
    renewed = x509.load_pem_x509_certificate(authority.chain.read_bytes()).not_valid_after_utc.timestamp()
    authority.chain.write_text("half a certific")
    await shown(port, authority.trusting())
    assert next(iter(ENDS.collect())).samples[0].value == renewed


def test_files_that_hold_no_certificate_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_text("no certificate")
    with pytest.raises(SettingsError, match="SECRETS_TLS_CERT"):
        Certificate(tmp_path / "tls.crt", tmp_path / "tls.key")


@pytest.mark.parametrize("name", ["SECRETS_TLS_CERT", "SECRETS_TLS_KEY"])
def test_one_file_without_the_other_stops_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_TOKEN", "t" * 24)
    monkeypatch.setenv(name, "/tls/file")
    with pytest.raises(SettingsError, match="SECRETS_TLS_KEY"):
        load(SecretEndpointSettings)


def test_without_files_the_endpoint_speaks_plain_http() -> None:
    assert serve.secrets_tls(SecretEndpointSettings(secrets_token=SecretStr("t" * 24))) is None
