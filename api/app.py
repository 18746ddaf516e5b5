"""The API as one application. One folder per audience, so the folder is the security boundary."""

from __future__ import annotations

from fastapi import FastAPI
from sqlalchemy import text

from api import counts, errors
from api.admin import connections, restores, rollouts, stoppages
from api.admin import routes as admin
from api.agent import routes as agent
from api.deps import Parts
from api.onboarding import drafts
from api.webhooks import stripe


def create(parts: Parts) -> FastAPI:
    """The application over ``parts``."""
    app = FastAPI(title="openclaw-cloud", version="0.1.0")
    app.state.parts = parts
    errors.install(app)
    counts.install(app, "api")
    for_ops = (stoppages.router, restores.router, admin.router, connections.router, rollouts.router)
    for router in (stripe.router, drafts.router, agent.router, *for_ops):
        app.include_router(router)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """200 while the process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """200 while Postgres answers too; 503 otherwise."""
        async with parts.database.transaction() as session:
            await session.execute(text("SELECT 1"))
        return {"status": "ready"}

    return app
