"""The Helm repository from which every cell's Argo CD takes the boxes' chart: which releases of it there are."""

from __future__ import annotations

from typing import Any

import httpx
import yaml
from pydantic import Field

from controller.core.errors import Conflict, Invalid, Permanent, Temporary, foreign
from controller.core.settings import Group

TIMEOUT_SECONDS = 15.0
LARGEST_BYTES = 20_000_000
"""Of an index: some ten thousand releases."""

SHOWN = 5
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ChartSettings(Group):
    """Where the charts are."""

    charts_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """The repository's address, as ``argocd/cell`` has it. None: no rollout can be started from this process."""

    charts_name: str = "box"


class ChartsAway(Temporary):
    """Raised when the repository does not answer."""


class IndexUnreadable(Permanent):
    """Raised when what the repository answers is no index."""


class Charts:
    """One repository, asked anew each time: a release may have been published a second ago."""

    def __init__(self, settings: ChartSettings) -> None:
        self._url = (settings.charts_url or "").rstrip("/")
        self._name = settings.charts_name

    async def check(self, release: str) -> None:
        """Return if the release is published.

        Raises Invalid if it is not, Conflict if nobody said where to look, ChartsAway, IndexUnreadable.
        """
        if not self._url:
            raise Conflict("charts_url_unset", hint="CHARTS_URL says where the releases are")
        known = await self.releases()
        if release not in known:
            raise Invalid("release_unknown", release=release, newest=" ".join(known[:SHOWN]) or "none")

    async def releases(self) -> list[str]:
        """Every release of the chart, the newest first. Raises ChartsAway, IndexUnreadable."""
        index = _parsed(await self._fetch())
        try:
            found = [str(entry["version"]) for entry in index["entries"].get(self._name) or []]
        except (KeyError, TypeError, AttributeError) as exc:
            raise IndexUnreadable("charts_index_unreadable", reason=foreign(repr(exc))) from exc
        return sorted(found, key=_number, reverse=True)

    async def _fetch(self) -> bytes:
        url, content = f"{self._url}/index.yaml", bytearray()
        try:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=True) as http,
                http.stream("GET", url) as answer,
            ):
                if answer.is_error:
                    raise ChartsAway("charts_away", url=url, status=answer.status_code)
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > LARGEST_BYTES:
                        raise IndexUnreadable("charts_index_unreadable", reason="it is too large")
        except httpx.HTTPError as exc:
            raise ChartsAway("charts_away", url=url, reason=foreign(exc)) from exc
        return bytes(content)


def _parsed(content: bytes) -> Any:
    try:
        return yaml.load(content, _LOADER)  # noqa: S506, a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise IndexUnreadable("charts_index_unreadable", reason=foreign(exc)) from exc


def _number(release: str) -> list[int]:
    return [int(part) if part.isdecimal() else -1 for part in release.split(".")]
