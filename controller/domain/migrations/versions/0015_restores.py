"""a box's data can be restored: its volumes, the snapshot that the cluster has of it, and why an admin asked"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the columns; every box that there is has its first volume alone."""
    op.add_column("boxes", sa.Column("volumes", postgresql.JSONB(none_as_null=True), nullable=True))
    op.add_column("sightings", sa.Column("snapshot", sa.String(), nullable=True))
    op.add_column("operator_jobs", sa.Column("reason", sa.String(), nullable=True))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("operator_jobs", "reason")
    op.drop_column("sightings", "snapshot")
    op.drop_column("boxes", "volumes")
