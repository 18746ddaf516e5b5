"""a box knows the snapshot of its volume that was taken before its release"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column; no box that there is has one."""
    op.add_column("boxes", sa.Column("snapshot", postgresql.JSONB(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("boxes", "snapshot")
