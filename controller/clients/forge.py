"""Where people see their commits: a status on the commit and a comment under it, at GitHub, GitLab or nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from urllib.parse import quote

import httpx
from pydantic import Field, SecretStr

from controller.core.errors import CloudError, OutcomeUnknown, Permanent, Temporary, foreign
from controller.core.settings import Group, SettingsError

CONTEXT = "openclaw-cloud/adoption"
"""The name of the status beside those of pipelines."""

LONGEST_DESCRIPTION = 140
"""What GitHub takes; GitLab takes more."""

LONGEST_COMMENT = 60_000
TIMEOUT_SECONDS = 15.0


class Kind(StrEnum):
    """Whose API it is."""

    NONE = "none"
    GITHUB = "github"
    GITLAB = "gitlab"


_URLS = {
    Kind.NONE: "http://none.invalid",
    Kind.GITHUB: "https://api.github.com",
    Kind.GITLAB: "https://gitlab.com/api/v4",
}


class ForgeSettings(Group):
    """Where the GitOps repository is shown."""

    forge_kind: Kind = Kind.NONE
    """``none``: nobody is told; the log and the database know it all the same."""

    forge_url: str | None = None
    """The API's address, for an installation of one's own. Without it that of github.com or gitlab.com."""

    forge_project: str = Field(default="", pattern=r"^([\w.-]+(/[\w.-]+)+)?$")
    """``owner/name`` as in the repository's address; needed unless the kind is ``none``."""

    forge_token: SecretStr | None = None
    """May set statuses and comment, and needs nothing else; needed unless the kind is ``none``."""


class ForgeAway(Temporary):
    """Raised when the forge does not answer or asks for patience; nothing happened there."""


class ForgeRefused(Permanent):
    """Raised when the forge says no: the token, the project or what we ask is wrong."""


class Forge:
    """One process's client of one repository's forge."""

    def __init__(self, settings: ForgeSettings) -> None:
        """Raises SettingsError that names what a forge needs and was not given."""
        self.kind = settings.forge_kind
        self._project = settings.forge_project
        headers = {}
        if self.kind != Kind.NONE:
            if not settings.forge_project:
                raise SettingsError("setting_wrong", variable="FORGE_PROJECT", reason="needed for this FORGE_KIND")
            if settings.forge_token is None:
                raise SettingsError("setting_wrong", variable="FORGE_TOKEN", reason="needed for this FORGE_KIND")
            headers = _headers(self.kind, settings.forge_token.get_secret_value())
        url = settings.forge_url or _URLS[self.kind]
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, headers=headers)

    async def status(self, sha: str, *, good: bool, description: str) -> None:
        """The commit shows whether it stands, and why in a line; saying it twice changes nothing.

        Raises ForgeAway, ForgeRefused; OutcomeUnknown if the answer was lost.
        """
        told = description[:LONGEST_DESCRIPTION]
        if self.kind == Kind.GITHUB:
            state = "success" if good else "failure"
            body = {"state": state, "context": CONTEXT, "description": told}
            await self._post(f"/repos/{self._project}/statuses/{sha}", body)
        elif self.kind == Kind.GITLAB:
            state = "success" if good else "failed"
            body = {"state": state, "name": CONTEXT, "description": told}
            await self._post(f"/projects/{quote(self._project, safe='')}/statuses/{sha}", body)

    async def comment(self, sha: str, text: str) -> None:
        """``text`` (Markdown) stands under the commit; saying it twice makes two. Raises as ``status`` does."""
        if self.kind == Kind.GITHUB:
            await self._post(f"/repos/{self._project}/commits/{sha}/comments", {"body": text[:LONGEST_COMMENT]})
        elif self.kind == Kind.GITLAB:
            path = f"/projects/{quote(self._project, safe='')}/repository/commits/{sha}/comments"
            await self._post(path, {"note": text[:LONGEST_COMMENT]})

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _post(self, path: str, body: Mapping[str, str]) -> None:
        try:
            answer = await self._http.post(path, json=dict(body))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
            raise ForgeAway("forge_away", reason=foreign(exc)) from exc
        except httpx.TransportError as exc:
            raise OutcomeUnknown("forge_answer_lost", reason=foreign(exc) or type(exc).__name__) from exc
        if answer.is_error or answer.is_redirect:
            refusal = _refusal(answer)
            if refusal is not None:
                raise refusal


def _headers(kind: Kind, token: str) -> dict[str, str]:
    if kind == Kind.GITLAB:
        return {"PRIVATE-TOKEN": token}
    return {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }


def _refusal(answer: httpx.Response) -> CloudError | None:
    reason = foreign(" ".join(answer.text.split()))
    # GitLab moves a status like a job's: to where it stands already is an error
    if answer.status_code == 400 and "Cannot transition status" in answer.text:
        return None
    # GitHub limits by 403 or 429, and says so in these headers
    limited = answer.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in answer.headers
    if answer.status_code == 429 or answer.status_code >= 500 or (answer.status_code == 403 and limited):
        waits = answer.headers.get("retry-after", "")
        wait = timedelta(seconds=min(int(waits), 3600) if waits.isdecimal() else 60)
        return ForgeAway("forge_busy", retry_after=wait, status=answer.status_code, reason=reason)
    return ForgeRefused("forge_refused", status=answer.status_code, reason=reason)
