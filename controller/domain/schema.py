"""Every table in one place, for migrations: importing this module fills ``Base.metadata``."""

from __future__ import annotations

from controller.core.db import Base
from controller.domain import (
    adoption,
    boxes,
    catch_up,
    connections,
    customers,
    drafts,
    git_remote,
    inbox,
    jobs,
    notices,
    pod_metrics,
    progress,
    releases,
    reservations,
    retirements,
    sightings,
    stoppages,
    strays,
    subscriptions,
    tokens,
    usage,
    vault,
)

METADATA = Base.metadata
MODULES = (
    adoption, boxes, catch_up, connections, customers, drafts, git_remote, inbox, jobs, notices, pod_metrics,
    progress, releases, reservations, retirements, sightings, stoppages, strays, subscriptions, tokens, usage, vault,
)  # fmt: skip
