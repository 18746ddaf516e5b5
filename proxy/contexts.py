"""Whether a prompt fits into its model, and how much room for an answer it leaves there."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.body import Prepared
from proxy.counting import Counter
from proxy.errors import ContextExceeded
from proxy.routes import Route

DENSEST = 2
"""Bytes of a token in the densest of honest texts. What is short by that is not counted, which takes milliseconds."""

LEAST_ANSWER = 1024
"""What is asked for at least where it is not certain that it fits: half a sentence would be worse than a refusal."""


@dataclass(frozen=True)
class Fit:
    """Where a prompt may go; ``tokens`` are what it may have, None if nobody knows."""

    routes: tuple[Route, ...]
    tokens: int | None = None

    def cap(self, route: Route, output_cap: int) -> int:
        """The longest answer to ask for there, at most ``output_cap``."""
        context = route.model.context_tokens
        if self.tokens is None or context is None:
            return output_cap
        return min(output_cap, max(LEAST_ANSWER, context - self.tokens))


async def fit(prepared: Prepared, routes: tuple[Route, ...], counter: Counter) -> Fit:
    """Where the prompt may fit, of ``routes``.

    Raises ContextExceeded if it cannot fit anywhere, also if the models' tokenizers are as thrifty as they may be.
    """
    if not prepared.dialect.caps:
        return Fit(routes)  # what is embedded may be many prompts at once
    dense = (prepared.input_bound - prepared.beside_text) // DENSEST
    if all(_is_short(dense, prepared.output_cap, route) for route in routes):
        return Fit(routes, dense)
    tokens = await counter.count(prepared.countable)
    if tokens is None:
        return Fit(routes)
    able = tuple(route for route in routes if _may_fit(tokens, route))
    if not able:
        raise ContextExceeded(max(route.model.context_tokens or 0 for route in routes), tokens)
    return Fit(able, tokens)


def _is_short(tokens: int, output_cap: int, route: Route) -> bool:
    """Whether the answer has room beside so many tokens, or half of the context at least."""
    context = route.model.context_tokens
    return context is None or tokens + output_cap <= context or tokens <= context // 2


def _may_fit(tokens: int, route: Route) -> bool:
    context = route.model.context_tokens
    return context is None or tokens <= context * route.model.tokenizer_margin
