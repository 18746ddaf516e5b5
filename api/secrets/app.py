"""The secret endpoint: External Secrets' webhook provider asks here, and every read is written down.

A process of its own with a credential of its own; only a box's agent token is ever fetched this way.
"""

from __future__ import annotations

import re

from fastapi import FastAPI
from prometheus_client import Counter

from api import counts, errors
from api.deps import Bearer
from api.settings import SecretEndpointSettings
from controller.core import crypto
from controller.core.crypto import Sealer
from controller.core.db import Database
from controller.core.errors import NotAllowed, NotFound
from controller.domain import boxes, vault

_KEY = re.compile(r"^boxes/([a-z0-9]{26})/agent/([1-9]\d{0,6})$")


def create(settings: SecretEndpointSettings, database: Database, sealer: Sealer) -> FastAPI:
    """The endpoint for one cell."""
    app = FastAPI(title="openclaw-cloud secrets", docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)
    registry = counts.install(app, "secrets")
    given = Counter("secrets_given", "Secrets that left the vault through this door", registry=registry)

    @app.get("/v1/cells/{cell}/{key:path}")
    async def read(cell: str, key: str, token: Bearer) -> dict[str, str]:
        """``{"value": …}`` for ``boxes/<id>/agent/<version>`` of a box of this cell; 404 for all else."""
        if not crypto.same(token, settings.secrets_token.get_secret_value()):
            raise NotAllowed("token_refused")
        match = _KEY.fullmatch(key)
        if match is None or cell != settings.cell:
            raise NotFound("secret_unknown")
        async with database.transaction() as session:
            box = await boxes.get(session, match[1])
            if box.cell != cell:
                raise NotFound("secret_unknown")
            reader = f"cell:{cell}"
            value = await vault.get(session, sealer, box.id, vault.AGENT, int(match[2]), reader=reader)
        given.inc()
        return {"value": value}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """200 while the process answers."""
        return {"status": "ok"}

    return app
