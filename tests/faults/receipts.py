"""What customers got, by their own side, against what Postgres says that they got: answers and notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.faults import measures
from tests.faults.stands import Stand

_USED = "SELECT request_id, input_tokens, output_tokens, estimated, box_id FROM usage_events"
_SUMS = """
SELECT s.box_id FROM subscriptions s JOIN usage_events e ON e.box_id = s.box_id AND e.period_start = s.period_start
LEFT JOIN usage_monthly m ON m.box_id = s.box_id AND m.period_start = s.period_start
GROUP BY s.box_id, m.requests, m.input_tokens, m.output_tokens
HAVING (count(*), sum(e.input_tokens), sum(e.output_tokens))
  IS DISTINCT FROM (m.requests, m.input_tokens::numeric, m.output_tokens::numeric)
"""
_UNTOLD = """
SELECT DISTINCT b.id FROM boxes b JOIN operator_jobs j ON j.box_id = b.id AND j.verb = 'provision' AND j.state = 'done'
WHERE NOT EXISTS (SELECT FROM notices n WHERE n.box_id = b.id AND n.kind = 'agent_live' AND n.channel = 'email')
"""
_NOTICES = """
SELECT n.id, n.channel, n.state, n.attempts, n.error, s.draft_id FROM notices n
JOIN subscriptions s ON s.box_id = n.box_id
"""


def metered(stand: Stand) -> Iterator[str]:
    """I6: one row for every answer of which a byte arrived, with its tokens, and the sums those of the rows.

    A proxy that is killed between writing a call down and sending its first byte leaves a row of which nobody heard: at
    most one for each of the customer's calls whose connection broke before anything arrived.
    """
    used = stand.sql(_USED)
    rows = {row[0]: (row[1], row[2], row[3]) for row in used}
    answered = stand.talks.answered()
    for request_id in answered.keys() - rows.keys():
        yield f"I6: answer {request_id} has no row"
    unheard = Counter(row[4] for row in used if row[0] not in stand.talks.known())
    for box_id, count in (unheard - stand.talks.broken()).items():
        yield f"I6: {count} rows of box {box_id} are of no answer"
    measures.counted("rows of calls of which nothing arrived", {"rows": unheard.total()})
    if left := stand.sql("SELECT request_id FROM reservations"):
        yield f"I6: {len(left)} calls are still open"
    for request_id in answered.keys() & rows.keys():
        usage, (spent, made, estimated) = answered[request_id].usage, rows[request_id]
        if usage is not None and (*usage, False) != (spent, made, estimated):
            yield f"I6: answer {request_id} cost {usage}, its row says {spent}, {made}, estimated: {estimated}"
    yield from (f"I6: the sums of box {row[0]} are not those of its rows" for row in stand.sql(_SUMS))


def told(stand: Stand) -> Iterator[str]:
    """Every live agent was announced, and everything once.

    A mail may come once for each attempt to send it, under the same Message-ID; a chat message whose sender died
    is closed as unknown, and may have come or not.
    """
    yield from (f"notices: nobody was told of box {row[0]}" for row in stand.sql(_UNTOLD))
    mails = Counter(str(mail["Message-ID"]).strip("<>").partition("@")[0] for mail in stand.outside.mailbox.mails)
    said, unsure = Counter[str](), Counter[str]()
    for notice in stand.sql(_NOTICES):
        bot = stand.bots.get(notice["draft_id"] or "")
        yield from _closed_well(notice, known=bot is not None)
        if notice["channel"] == "email":
            yield from _mailed(notice, mails.pop(notice["id"], 0))
        elif notice["draft_id"]:
            (unsure if notice["state"] == "unknown" else said)[notice["draft_id"]] += notice["state"] != "undeliverable"
    yield from (f"notices: mail {notice} is of no notice" for notice in mails)
    for draft, bot in stand.bots.items():
        came = len(stand.outside.town.sent(bot))
        if not said[draft] <= came <= said[draft] + unsure[draft]:
            yield f"notices: {came} chat messages for draft {draft}, {said[draft]} are sent, {unsure[draft]} unknown"


def _closed_well(notice: dict[str, str], *, known: bool) -> Iterator[str]:
    """A box of ops has no bot, and nobody's address: its notices end as undeliverable."""
    good = {"sent", "unknown"} if known else {"sent", "unknown", "undeliverable"}
    if notice["state"] not in good or (notice["state"] == "unknown" and notice["channel"] == "email"):
        yield f"notices: {notice['channel']} {notice['id']} is {notice['state']}: {notice['error']}"


def _mailed(notice: dict[str, int | str], copies: int) -> Iterator[str]:
    sent = notice["state"] == "sent"
    if not int(sent) <= copies <= int(notice["attempts"]):
        yield f"notices: mail {notice['id']} is {notice['state']} after {notice['attempts']} attempts, {copies} came"
