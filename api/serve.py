"""The API's processes, built from the environment."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from fastapi import FastAPI

from api import app
from api.deps import Parts
from api.secrets import app as secrets_app
from api.settings import ApiSettings, SecretEndpointSettings
from api.tls import Certificate
from controller.clients.charts import Charts, ChartSettings
from controller.clients.stripe import Stripe, StripeSettings
from controller.core import log
from controller.core.crypto import Sealer
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import DatabaseSettings, QueueSettings, SealingSettings, TokenSettings, load
from controller.domain.boxes import BoxSettings
from controller.domain.lifecycle import Mint


def api() -> tuple[FastAPI, ApiSettings]:
    """The API and where it listens.

    Raises SettingsError that names a missing variable.
    """
    log.configure("api")
    settings = load(ApiSettings)
    parts = Parts(
        settings=settings,
        database=Database(load(DatabaseSettings)),
        stripe=Stripe(load(StripeSettings)),
        bell=Doorbell(load(QueueSettings)),
        mint=Mint(
            sealer=Sealer(load(SealingSettings).sealing_key.get_secret_value()),
            pepper=load(TokenSettings).token_pepper.get_secret_value(),
            settings=load(BoxSettings),
        ),
        niches=frozenset(folder.name for folder in settings.niches_dir.iterdir() if folder.is_dir()),
        charts=Charts(load(ChartSettings)),
    )
    return app.create(parts), settings


def secrets() -> tuple[FastAPI, SecretEndpointSettings]:
    """The secret endpoint and where it listens.

    Raises SettingsError that names a missing variable.
    """
    log.configure("secrets")
    settings = load(SecretEndpointSettings)
    sealer = Sealer(load(SealingSettings).sealing_key.get_secret_value())
    return secrets_app.create(settings, Database(load(DatabaseSettings)), sealer), settings


def secrets_tls(settings: SecretEndpointSettings) -> Callable[..., ssl.SSLContext] | None:
    """What makes the secret endpoint's TLS for uvicorn; None where it speaks plain HTTP.

    Raises SettingsError if the files do not hold a chain and its key.
    """
    if settings.secrets_tls_cert is None or settings.secrets_tls_key is None:
        return None
    certificate = Certificate(settings.secrets_tls_cert, settings.secrets_tls_key)
    return lambda _config, _default: certificate.context()
