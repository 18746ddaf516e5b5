"""jobs that wait for an approval, and those that the caps count"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add them; the default stays, because processes of the release before go on inserting jobs."""
    approvals = postgresql.JSONB(astext_type=sa.Text())
    op.add_column("operator_jobs", sa.Column("approvals", approvals, server_default="{}", nullable=False))
    op.add_column("operator_jobs", sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_operator_jobs_admitted",
        "operator_jobs",
        ["committed_at"],
        unique=False,
        postgresql_where="admitted_at IS NOT NULL",
    )


def downgrade() -> None:
    """Undo it; what waits for an approval becomes a failure that a human sees, because nobody else would know it."""
    op.execute("UPDATE operator_jobs SET state = 'failed' WHERE state = 'needs_approval'")
    op.drop_index("ix_operator_jobs_admitted", table_name="operator_jobs")
    op.drop_column("operator_jobs", "admitted_at")
    op.drop_column("operator_jobs", "approvals")
