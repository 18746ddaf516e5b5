"""What a method of the Bot API is to the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controller.sandbox.documents import Document
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.params import Params

Method = Callable[[Town, Document, Params], Any]
"""Called with the bot inside a transaction; its answer is the call's ``result``."""
