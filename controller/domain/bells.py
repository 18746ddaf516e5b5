"""The doorbells: which queue and actor to ring when there is work. Whoever rings needs no worker code."""

from __future__ import annotations

from controller.core.queue import Bell

EVENT = Bell("billing", "handle_event")
"""An event waits in the inbox; rung with its id."""

CATCH_UP = Bell("billing", "catch_up")
"""It is time to read which events Stripe has and never managed to deliver."""

COMMITS = Bell("gitops", "write_commits")
"""Jobs wait for Git."""

REFRESH = Bell("gitops", "refresh")
"""The cluster lags behind Git; rung with box ids."""

RETIRE = Bell("gitops", "retire")
"""Files of destroyed boxes have left Git, and their Applications have to follow."""

NOTICE = Bell("notices", "send_notice")
"""A notice waits to be sent; rung with its id."""

ADOPT = Bell("gitops", "adopt")
"""It is time to look what people pushed to the GitOps repository."""

TELL_FORGE = Bell("notices", "tell_forge")
"""What became of people's commits waits to be told where they are shown."""
