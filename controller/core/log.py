"""Structured logs: a dotted event in the past tense, facts as fields, one JSON object a line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

import structlog
from structlog.typing import FilteringBoundLogger

_HIDDEN = ("authorization", "token", "secret", "password", "api_key", "dsn")


def _mask(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: _masked(key, value) for key, value in event.items()}


def _masked(name: str, value: object) -> object:
    """``value`` as it may be logged under ``name``: a copy in which secrets are stars at any depth.

    Numbers are none: usage that goes nowhere else is logged in full, and its names have ``token`` in them.
    """
    if isinstance(value, (int, float)):
        return value
    if any(word in name.lower() for word in _HIDDEN):
        return "***"
    if isinstance(value, Mapping):
        return {key: _masked(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked("", item) for item in value]
    return value


def configure(process: str, *, level: int = logging.INFO) -> None:
    """Make this process log JSON lines to stderr, each with ``process`` and the bound context."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _mask,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(message)s")


def get(name: str) -> FilteringBoundLogger:
    """The logger of one module: ``log = log.get(__name__)``."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger
