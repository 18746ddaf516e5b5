"""Which models there are: public name → provider and its own name, what it costs, who may use it, what takes its place.

One typed YAML text (``LLM_CATALOG``), or without one what ``LLM_UPSTREAM_URL`` and ``LLM_MODELS`` say. No key is in it:
a provider names the entry of the keys' settings that opens it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from controller.domain.plans import PLANS, PlanName
from proxy.usages import Usage

PER = 1_000_000
"""Prices are for a million tokens, as providers print them."""

Price = Annotated[int, Field(ge=0, le=10**12)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$")]
Tokens = Annotated[int, Field(ge=1, le=2**31)]


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https address")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("must be an address without a credential, a query and a fragment")
    return url.rstrip("/")


class Wire(StrEnum):
    """What a provider speaks."""

    OPENAI = "openai"
    """Passed through byte for byte."""

    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    LITELLM = "litellm"
    """Whatever litellm's ``vendor`` speaks; the slowest, for the rest."""


class Endpoint(StrEnum):
    """What a client may call, beside ``/v1/models``."""

    CHAT = "chat/completions"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    MESSAGES = "messages"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Prices(_Part):
    """Millionths of a US dollar for a million tokens."""

    input: Price = 0
    cached: Price | None = None
    """For input that the provider had in its cache; None: as other input."""

    output: Price = 0
    reasoning: Price | None = None
    """For output that is thinking; None: as other output."""

    def cost_microusd(self, used: Usage) -> int:
        """What the provider takes for ``used``, rounded up."""
        cached, reasoning = min(used.cached, used.input), min(used.reasoning, used.output)
        cached_price = self.input if self.cached is None else self.cached
        reasoning_price = self.output if self.reasoning is None else self.reasoning
        total = (used.input - cached) * self.input + cached * cached_price
        total += (used.output - reasoning) * self.output + reasoning * reasoning_price
        return -(-total // PER)


class Provider(_Part):
    """One account with somebody who has models."""

    wire: Wire = Wire.OPENAI
    base_url: Annotated[str, AfterValidator(_base)]
    """With ``/v1`` for OpenAI's wire, the bare address for Anthropic's, with the version for Gemini's."""

    key: Name | None = None
    """The entry of LLM_KEYS (OpenAI's wire) or TRANSLATED_KEYS (the others); None: the one called as the provider."""

    vendor: Name | None = None
    """How litellm calls it; for its wire only."""

    developer: bool = True
    """Whether it knows the role ``developer``; otherwise such messages go there as ``system``. OpenAI's wire only."""

    limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """How it spells an answer's limit, where the client named none; ``max_tokens``: it knows no other, so a client's is
    respelled. OpenAI's wire only."""

    speaks: frozenset[Endpoint] = frozenset()
    """What it has beside the chat, to which it is passed as it is: the wire openai's provider says, Anthropic's has
    ``messages``."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.wire is Wire.LITELLM) != (self.vendor is not None):
            raise ValueError("vendor goes with the wire litellm, and only with it")
        if self.wire is not Wire.OPENAI and self.speaks:
            raise ValueError("speaks is for the wire openai: of the others it is known")
        return self

    def has(self, endpoint: Endpoint) -> bool:
        """Whether a call of ``endpoint`` can go there."""
        own = {Endpoint.MESSAGES} if self.wire is Wire.ANTHROPIC else self.speaks
        return endpoint is Endpoint.CHAT or endpoint in own

    @property
    def translated(self) -> bool:
        """Whether the translator talks to it and not the proxy."""
        return self.wire is not Wire.OPENAI


class Model(_Part):
    """One model under its public name."""

    provider: Name
    model: str | None = Field(default=None, min_length=1, max_length=256)
    """The provider's name for it; None: the public one."""

    plans: tuple[PlanName, ...] | None = None
    """Whose customers may name it; None: the plans whose list of models has it. Nobody's is a fall-back only."""

    prices: Prices = Prices()
    context_tokens: Tokens | None = None
    """Prompt and answer together: a prompt that cannot fit is refused here. None: the provider alone says."""

    max_output_tokens: Tokens = 16_384
    """The longest answer that it may give, and what is asked for where the client names no limit."""

    hidden_tokens: Annotated[int, Field(ge=0, le=2**31)] = 600
    """What the provider may add to a prompt: its template, and words of its own about tools."""

    image_tokens: Annotated[int, Field(ge=0, le=2**31)] = 16_384
    """The most that one image, whose size in bytes says nothing, is taken to cost. A model that needs more for one can
    exceed the plan by the difference, times the images that are under way."""

    tokenizer_margin: Annotated[float, Field(ge=1, le=10)] = 1.25
    """By how much the model's own tokenizer may count more than o200k does."""

    fallbacks: tuple[Name, ...] = ()
    """Public names of those that answer, in this order, while this one cannot."""

    @property
    def longest_answer(self) -> int:
        """Tokens: no more than the whole context."""
        return min(self.max_output_tokens, self.context_tokens or self.max_output_tokens)


class Catalog(_Part):
    """All of it."""

    providers: dict[Name, Provider]
    models: dict[Name, Model] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name, model in self.models.items():
            if model.provider not in self.providers:
                raise ValueError(f"models.{name}: there is no provider {model.provider}")
            for other in model.fallbacks:
                if other == name or other not in self.models:
                    raise ValueError(f"models.{name}: {other} is no other model that could take its place")
        return self

    def offered(self, name: str, plan: str) -> bool:
        """Whether customers of ``plan`` may name the model."""
        plans = self.models[name].plans
        if plans is None:
            return any(one.name.value == plan and name in one.models for one in PLANS.values())
        return plan in [one.value for one in plans]

    def of_plan(self, plan: str) -> list[str]:
        """The public names that customers of ``plan`` may use, in the catalog's order."""
        return [name for name in self.models if self.offered(name, plan)]

    def attempts(self, name: str) -> Iterator[tuple[str, Model, Provider]]:
        """The model and those that take its place, each with its provider."""
        for one in (name, *self.models[name].fallbacks):
            yield one, self.models[one], self.providers[self.models[one].provider]

    def keys(self, *, translated: bool) -> dict[str, str]:
        """Each provider's entry in the keys' setting, of those that the translator talks to or of the others."""
        used = {model.provider for model in self.models.values()}
        return {
            name: one.key or name
            for name, one in self.providers.items()
            if name in used and one.translated is translated
        }


def parse(text: str) -> Catalog:
    """The catalog in a YAML text.

    Raises ValueError that says where and what is wrong, without quoting a value.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        given: Any = yaml.load(text)
    except YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise ValueError(f"no YAML: {getattr(exc, 'problem', None) or type(exc).__name__}{where}") from exc
    try:
        return Catalog.model_validate(given)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from exc


SIMPLE = "upstream"
"""How the one provider of ``simple`` is called."""


def simple(base_url: str, models: dict[str, str]) -> Catalog:
    """One OpenAI-compatible provider with ``models`` (public name → its own). Those that no plan lists are for all."""
    sold = {name for plan in PLANS.values() for name in plan.models}
    made = {
        name: Model(provider=SIMPLE, model=own, plans=None if name in sold else tuple(PlanName))
        for name, own in models.items()
    }
    provider = Provider(base_url=base_url, speaks=frozenset(Endpoint))
    return Catalog(providers={SIMPLE: provider}, models=made)
