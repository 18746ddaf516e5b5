"""What one model allows and costs: the bounds of a reservation, and the price of what was used."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from controller.domain.measured import Measured

PER = 1_000_000
"""Prices are for a million tokens, as providers print them."""


class Terms(BaseModel):
    """One model's. Prices in millionths of a US dollar for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_output_tokens: int = Field(default=16_384, ge=1)
    """The longest answer that we let it give, and what is asked for where the client names no limit."""

    output_key: str = "max_completion_tokens"
    """How the upstream spells that limit, where the client did not."""

    hidden_tokens: int = Field(default=600, ge=0)
    """What the provider may add to a prompt: its template, and words of its own about tools."""

    image_tokens: int = Field(default=16_384, ge=0)
    """The most that one image, whose size in bytes says nothing, is taken to cost. A model that needs more for one can
    exceed the plan by the difference, times the images that are under way."""

    tokenizer_margin: float = Field(default=1.25, ge=1)
    """By how much the model's own tokenizer may count more than o200k does."""

    input_price: int = Field(default=0, ge=0)
    cached_price: int | None = Field(default=None, ge=0)
    """For input that the provider had in its cache; None: as other input."""

    output_price: int = Field(default=0, ge=0)

    def cost_microusd(self, used: Measured) -> int:
        """What the provider takes for ``used``, rounded up."""
        cached = min(used.cached_tokens, used.input_tokens)
        price = self.input_price if self.cached_price is None else self.cached_price
        total = (used.input_tokens - cached) * self.input_price + cached * price
        return -(-(total + used.output_tokens * self.output_price) // PER)
