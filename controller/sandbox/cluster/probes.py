"""A container's HTTP probes, as a kubelet counts them."""

from __future__ import annotations

import asyncio

import httpx

from controller.sandbox.cluster.resources import Object

EAGER_SECONDS = 0.25
"""How often a container that is not up yet is looked at: the sandbox's clock is watched, and a look is cheap."""


class Probe:
    """One probe of one container, begun when it started; the port is the host's."""

    def __init__(self, http: httpx.AsyncClient, spec: Object, port: int) -> None:
        self.period = float(spec.get("periodSeconds", 10))
        self.delay = float(spec.get("initialDelaySeconds", 0))
        self.said = ""
        self._threshold = int(spec.get("failureThreshold", 3))
        self._wanted = int(spec.get("successThreshold", 1))
        self._timeout = float(spec.get("timeoutSeconds", 1))
        self._url = f"http://127.0.0.1:{port}{spec['httpGet'].get('path', '/')}"
        self._http = http
        self._misses = self._hits = 0
        self._looked_at = 0.0

    @property
    def patience(self) -> float:
        """Seconds of failing, from its start, after which the container counts as failed."""
        return self.delay + self.period * self._threshold

    @property
    def due(self) -> bool:
        """Whether a period has passed since the last look."""
        return asyncio.get_running_loop().time() - self._looked_at >= self.period - EAGER_SECONDS / 2

    async def passes(self) -> bool:
        """Whether the container answers with a success or a redirection right now; ``said`` tells why not."""
        self._looked_at = asyncio.get_running_loop().time()
        try:
            answer = await self._http.get(self._url, timeout=self._timeout)
        except httpx.HTTPError as error:
            self.said = type(error).__name__
            return False
        self.said = f"HTTP probe failed with statuscode: {answer.status_code}"
        return answer.status_code < 400

    async def rises(self) -> bool:
        """Look once more; True when ``successThreshold`` looks in a row have passed."""
        self._hits = self._hits + 1 if await self.passes() else 0
        self._misses = 0 if self._hits else self._misses
        return self._hits >= self._wanted

    async def holds(self) -> bool:
        """Look once more; False when ``failureThreshold`` looks in a row have failed."""
        passed = await self.passes()
        self._misses, self._hits = (0, self._hits) if passed else (self._misses + 1, 0)
        return self._misses < self._threshold

    @property
    def failing(self) -> bool:
        """Whether the last look failed."""
        return self._misses > 0
