"""What a control-plane process is made of, built once from the environment and passed down."""

from __future__ import annotations

from dataclasses import dataclass

from controller.core.crypto import Sealer
from controller.core.db import Database
from controller.core.queue import Doorbell
from controller.core.settings import DatabaseSettings, QueueSettings, SealingSettings, TokenSettings, load
from controller.domain.boxes import BoxSettings
from controller.domain.lifecycle import Mint


@dataclass(frozen=True)
class Stores:
    """The parts that every process of the control plane has."""

    database: Database
    bell: Doorbell


@dataclass(frozen=True)
class Context(Stores):
    """The same, and what making a box needs: the key that seals, and the pepper."""

    mint: Mint


def stores() -> Stores:
    """The parts of a process that makes no box and reads no secret, from the environment.

    Raises SettingsError that names a missing variable.
    """
    return Stores(database=Database(load(DatabaseSettings)), bell=Doorbell(load(QueueSettings)))


def build() -> Context:
    """The parts of a process that makes boxes. Raises as ``stores`` does."""
    return Context(database=Database(load(DatabaseSettings)), bell=Doorbell(load(QueueSettings)), mint=mint())


def mint() -> Mint:
    """What making a box needs, from the environment. Raises as ``stores`` does."""
    sealer = Sealer(load(SealingSettings).sealing_key.get_secret_value())
    pepper = load(TokenSettings).token_pepper.get_secret_value()
    return Mint(sealer=sealer, pepper=pepper, settings=load(BoxSettings))
