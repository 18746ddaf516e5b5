"""Settings of the API's processes."""

from __future__ import annotations

from pathlib import Path

from pydantic import DirectoryPath, Field, SecretStr, ValidationInfo, field_validator

from controller.core.settings import Group


class ApiSettings(Group):
    """The public API and the platform's internal one, in one process."""

    api_host: str = "127.0.0.1"
    api_port: int = 8000
    web_url: str
    """Where customers reach us, used in links; the Host header is never trusted."""

    admin_token: SecretStr = Field(min_length=24)
    stripe_webhook_secret: SecretStr
    """With which Stripe signs what it posts to our endpoint; nobody but this door has it."""

    niches_dir: DirectoryPath
    """The chart's ``files/niches``: a folder there is a niche that we sell."""


class SecretEndpointSettings(Group):
    """The endpoint from which External Secrets fetches, a process and credential of its own."""

    secrets_host: str = "127.0.0.1"
    secrets_port: int = 8001
    secrets_token: SecretStr = Field(min_length=24)
    cell: str = "local"
    """The only cell whose boxes' secrets this credential reaches."""

    secrets_tls_cert: Path | None = None
    """The file of the certificate chain, read again when it changes. None: plain HTTP, for a sandbox."""

    secrets_tls_key: Path | None = Field(default=None, validate_default=True)
    """The file of its key; either both are set or neither."""

    @field_validator("secrets_tls_key")
    @classmethod
    def _belongs_to_a_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("secrets_tls_cert") is None):
            raise ValueError("SECRETS_TLS_CERT and SECRETS_TLS_KEY are set together or not at all")
        return key
