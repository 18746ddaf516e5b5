"""Which scripted reply a request gets, and what the script is afterwards."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from controller.sandbox.documents import Documents
from controller.sandbox.llm import scripts, wording
from controller.sandbox.llm.scripts import Api, Reply, Rule, Script
from controller.sandbox.llm.turns import Turn


@dataclass(frozen=True)
class Chosen:
    """A reply and what its places are filled with."""

    reply: Reply
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Seen:
    """What of a request decides."""

    api: Api
    model: str
    human: str
    rounds: int
    results: list[str]


def take(documents: Documents, api: Api, turn: Turn) -> Chosen:
    """The reply to ``turn``, which the script then counts as given; the default one if the script has none.

    Only a rule that names ``embeddings`` speaks to them.
    """
    seen = _Seen(
        api, turn.model, wording.human_text(turn.messages), wording.rounds(turn.messages),
        wording.fresh_results(turn.messages),
    )  # fmt: skip
    script = scripts.load(documents)
    found = (None if api == "embeddings" else _from_replies(script, seen)) or _from_rules(script, seen)
    if found is None:
        return Chosen(Reply())
    reply, groups = found
    scripts.replace(documents, script)
    facts = {"human": seen.human, "results": "\n".join(seen.results), "result": (seen.results or [""])[-1], **groups}
    if reply.recall is not None:
        facts["recalled"] = wording.recall(turn.messages, reply.recall) or ""
    return Chosen(reply, facts)


def _from_replies(script: Script, seen: _Seen) -> tuple[Reply, dict[str, str]] | None:
    for index, reply in enumerate(script.replies):
        if reply.match is None or reply.match in seen.human:
            answer, over = _followed(reply, seen.rounds)
            if over and not (script.repeat_last and len(script.replies) == 1):
                reply.times -= 1
                if reply.times == 0:
                    del script.replies[index]
            return answer, {}
    return None


def _from_rules(script: Script, seen: _Seen) -> tuple[Reply, dict[str, str]] | None:
    for rule in script.rules:
        groups = _fits(rule, seen)
        if groups is not None:
            answer, over = _followed(rule.steps[rule.step], seen.rounds)
            if over:
                _advance(rule)
            return answer, groups
    return None


def _fits(rule: Rule, seen: _Seen) -> dict[str, str] | None:
    """The groups of the rule's pattern if the rule fits."""
    found = re.search(rule.pattern, seen.human) if rule.pattern else None
    fits = (
        rule.step < len(rule.steps)
        and (rule.api == seen.api or (rule.api is None and seen.api != "embeddings"))
        and rule.model in (None, seen.model)
        and rule.after_tool in (None, bool(seen.results))
        and (rule.match is None or rule.match in seen.human)
        and (rule.pattern is None or found is not None)
    )
    if not fits:
        return None
    return {f"match.{n}": group or "" for n, group in enumerate((found[0], *found.groups()))} if found else {}


def _followed(reply: Reply, rounds: int) -> tuple[Reply, bool]:
    """What ``reply`` says after so many rounds of tools, and whether it has then nothing more to say."""
    for _ in range(rounds):
        if reply.then is None:
            break
        reply = reply.then
    return reply, reply.then is None


def _advance(rule: Rule) -> None:
    rule.given += 1
    if rule.given < rule.steps[rule.step].times:
        return
    last = rule.step == len(rule.steps) - 1
    if last and rule.ending == "stay":
        return
    rule.given = 0
    rule.step = 0 if last and rule.ending == "again" else rule.step + 1
