"""Our own API, as ops' command line calls it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from controller.core.errors import NotFound, Permanent, Refused, Temporary, foreign
from controller.core.settings import Group


class PlatformSettings(Group):
    """Where the API is and the admin's credential; both unset means the sandbox that runs on this machine."""

    api_url: str | None = None
    admin_token: SecretStr | None = None


def running_file() -> Path:
    """Where a running ``openclaw-cloud up`` of this user leaves its addresses."""
    return Path(tempfile.gettempdir()) / f"openclaw-cloud-{os.geteuid()}" / "up.json"


def create_customer(order: dict[str, Any]) -> dict[str, str]:
    """``POST /admin/customers``: the new customer's and box's ids and tokens. Raises as ``approve`` does."""
    made: dict[str, str] = _ask("POST", "/admin/customers", json=order)
    return made


def list_jobs(state: str | None = None) -> list[dict[str, Any]]:
    """``GET /admin/jobs``: the newest jobs, in one state if asked. Raises as ``approve`` does."""
    found: list[dict[str, Any]] = _ask("GET", "/admin/jobs", params={"state": state} if state else {})
    return found


def approve(job_id: str) -> None:
    """``POST /admin/jobs/{id}/approve``: the job goes on, in the name that the credential has.

    Raises Refused with the API's code, Temporary if it does not answer, Permanent if we do not know where it is.
    """
    _ask("POST", f"/admin/jobs/{quote(job_id, safe='')}/approve")


def start_rollout(order: dict[str, Any]) -> dict[str, Any]:
    """``POST /admin/rollouts``: the rollout that was begun. Raises as ``approve`` does."""
    made: dict[str, Any] = _ask("POST", "/admin/rollouts", json=order)
    return made


def list_rollouts() -> dict[str, Any]:
    """``GET /admin/rollouts``: the newest rollouts and the release of the fleet. Raises as ``approve`` does."""
    found: dict[str, Any] = _ask("GET", "/admin/rollouts")
    return found


def change_rollout(verb: str) -> dict[str, Any]:
    """``POST /admin/rollouts/{id}/{verb}`` for the newest one. Raises NotFound without any, else as ``approve``."""
    known = list_rollouts()["rollouts"]
    if not known:
        raise NotFound("rollout_unknown", hint="there never was one")
    changed: dict[str, Any] = _ask("POST", f"/admin/rollouts/{known[0]['id']}/{verb}")
    return changed


def list_conditions() -> list[dict[str, Any]]:
    """``GET /admin/conditions``: what does not move, with the reason. Raises as ``approve`` does."""
    found: list[dict[str, Any]] = _ask("GET", "/admin/conditions")
    return found


def show_box(box_id: str) -> dict[str, Any]:
    """``GET /admin/boxes/{id}``: what we want of it and what is known of it. Raises as ``approve`` does."""
    found: dict[str, Any] = _ask("GET", f"/admin/boxes/{quote(box_id, safe='')}")
    return found


def retry(box_id: str) -> dict[str, str]:
    """``POST /admin/boxes/{id}/retry``: the job that raises its rev. Raises as ``approve`` does."""
    made: dict[str, str] = _ask("POST", f"/admin/boxes/{quote(box_id, safe='')}/retry")
    return made


def stop(box_id: str, reason: str) -> dict[str, Any]:
    """``POST /admin/boxes/{id}/stop``: the stoppage. Raises as ``approve`` does."""
    made: dict[str, Any] = _ask("POST", f"/admin/boxes/{quote(box_id, safe='')}/stop", json={"reason": reason})
    return made


def start(box_id: str) -> dict[str, Any]:
    """``POST /admin/boxes/{id}/start``: the job that does it, if any. Raises as ``approve`` does."""
    made: dict[str, Any] = _ask("POST", f"/admin/boxes/{quote(box_id, safe='')}/start")
    return made


def restore(box_id: str, reason: str) -> dict[str, Any]:
    """``POST /admin/boxes/{id}/restore``: the job that takes its data back. Raises as ``approve`` does."""
    made: dict[str, Any] = _ask("POST", f"/admin/boxes/{quote(box_id, safe='')}/restore", json={"reason": reason})
    return made


def discard(box_id: str, reason: str) -> dict[str, Any]:
    """``POST /admin/boxes/{id}/discard``: the job that gives its kept volume up. Raises as ``approve`` does."""
    made: dict[str, Any] = _ask("POST", f"/admin/boxes/{quote(box_id, safe='')}/discard", json={"reason": reason})
    return made


def reject(job_id: str, reason: str) -> str | None:
    """``POST /admin/jobs/{id}/reject``: the job shall not be; the id of the job that follows. Raises as ``approve``."""
    told = _ask("POST", f"/admin/jobs/{quote(job_id, safe='')}/reject", json={"reason": reason})
    followed_by: str | None = told["followed_by"]
    return followed_by


def _ask(method: str, path: str, **more: Any) -> Any:
    url, token = _where()
    try:
        answer = httpx.request(method, f"{url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=30, **more)
    except httpx.TransportError as exc:
        raise Temporary("api_away", url=url, reason=foreign(exc)) from exc
    if answer.is_error:
        raise Refused("api_refused", status=answer.status_code, reason=foreign(answer.text))
    return answer.json()


def _where() -> tuple[str, str]:
    settings = PlatformSettings()
    if settings.api_url and settings.admin_token:
        return settings.api_url, settings.admin_token.get_secret_value()
    if not running_file().exists():
        raise Permanent("api_unknown", hint="set API_URL and ADMIN_TOKEN, or start openclaw-cloud up")
    found = json.loads(running_file().read_text())
    return found["api_url"], found["admin_token"]
