"""What the tests of the rules share: one open transaction, and what making a box needs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from controller.core.db import Database
from controller.domain.lifecycle import Mint
from tests import factories


@pytest.fixture
async def session(database: Database) -> AsyncIterator[AsyncSession]:
    async with database.transaction() as opened:
        yield opened


@pytest.fixture
def mint() -> Mint:
    return factories.mint()
