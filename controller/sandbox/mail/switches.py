"""Mails that will not be taken: refused for good, refused for now, or kept waiting."""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_USUAL = {"refuse": (550, "5.7.1 Refused."), "temp_fail": (451, "4.3.0 Try again later."), "delay": (250, "OK")}
_CODES = {"refuse": range(500, 600), "temp_fail": range(400, 500)}


class Switch(BaseModel):
    """What befalls the next ``times`` mails, or those of them to one address."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["refuse", "temp_fail", "delay"]
    times: int = Field(default=1, ge=1)
    at: Literal["rcpt", "data"] = "data"
    """Whether a recipient is refused when he is named, or the mail when it was sent."""
    to: str | None = None
    code: int | None = None
    """Another code than 550 or 451."""
    text: str | None = Field(default=None, min_length=1, max_length=400, pattern=r"^[ -~]+$")
    seconds: float = Field(default=5, ge=0, le=600)
    """How long a delay is; the mail is taken then."""

    @model_validator(mode="after")
    def _fits(self) -> Switch:
        if self.code is not None and self.code not in _CODES.get(self.action, ()):
            raise ValueError(f"code: not one of {self.action}")
        return self


class Switches:
    """The switches that are set; a restart forgets them."""

    def __init__(self) -> None:
        self.set: list[Switch] = []

    async def strike(self, at: Literal["rcpt", "data"], recipients: list[str]) -> str | None:
        """The refusal of the first switch that fits, counted down; None to go on, after a delay if one is due."""
        for switch in self.set:
            if switch.at == at and (switch.to is None or switch.to.casefold() in map(str.casefold, recipients)):
                switch.times -= 1
                if switch.times == 0:
                    self.set.remove(switch)
                if switch.action == "delay":
                    await asyncio.sleep(switch.seconds)
                    return None
                code, text = _USUAL[switch.action]
                return f"{switch.code or code} {switch.text or text}"
        return None
