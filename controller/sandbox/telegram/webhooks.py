"""The methods that say where a bot's updates go."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from controller.sandbox.documents import Document
from controller.sandbox.telegram import updates
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import bad_request
from controller.sandbox.telegram.params import Params

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
PORTS = frozenset({80, 88, 443, 8443})
_SECRET = re.compile(r"[A-Za-z0-9_-]{0,256}")


def set_webhook(town: Town, bot: Document, params: Params) -> bool:
    """Updates are posted to ``url`` from now on, or wait for getUpdates if it is empty; an open poll ends.

    Raises Fault for an address without TLS or on a strange port, unless it is on this machine.
    """
    url = (params.text("url") or "").strip()
    secret = params.text("secret_token") or ""
    if not _SECRET.fullmatch(secret):
        raise bad_request("secret token contains unallowed characters")
    _check(url)
    most = params.number("max_connections", 0)
    bot["webhook"] = {"url": url, "secret_token": secret, "max_connections": min(most, 100) if most > 0 else 40}
    allowed = params.json("allowed_updates")
    if isinstance(allowed, list):
        bot["allowed_updates"] = allowed
    town.save(bot)
    return _moved(town, bot, params)


def delete_webhook(town: Town, bot: Document, params: Params) -> bool:
    """No webhook any more, and no pending updates if asked so."""
    town.save(bot | {"webhook": {"url": ""}})
    return _moved(town, bot, params)


def get_webhook_info(town: Town, bot: Document, _: Params) -> Document:
    """Where updates go, how many wait, and the last failure."""
    told = {name: value for name, value in bot["webhook"].items() if name != "secret_token"}
    if bot["allowed_updates"]:
        told["allowed_updates"] = bot["allowed_updates"]
    return told | {"has_custom_certificate": False, "pending_update_count": updates.waiting(town, bot)}


def _check(url: str) -> None:
    target = urlsplit(url)
    try:
        port = target.port
    except ValueError as exc:
        raise bad_request("bad webhook: invalid port") from exc
    if not url or target.hostname in LOOPBACK:
        return
    if target.scheme != "https" or not target.hostname:
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
    if (port or 443) not in PORTS:
        raise bad_request("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")


def _moved(town: Town, bot: Document, params: Params) -> bool:
    if params.flag("drop_pending_updates"):
        updates.forget(town, bot)
    updates.ring(town, bot)
    town.bells.ring(f"webhook:{bot['id']}")
    return True
