"""ops' commits: how far main is read, what became of each, and what ops want of a box"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the tables, and the overrides of boxes, of which none are known yet."""
    op.create_table(
        "git_heads",
        sa.Column("branch", sa.String(), nullable=False),
        sa.Column("sha", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("branch", name=op.f("pk_git_heads")),
    )
    op.create_table(
        "ops_commits",
        sa.Column("sha", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("boxes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("notes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("adopted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("sha", name=op.f("pk_ops_commits")),
    )
    op.create_index("ix_ops_commits_untold", "ops_commits", ["next_attempt_at"], postgresql_where="told_at IS NULL")
    overrides = sa.Column("overrides", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False)
    op.add_column("boxes", overrides)
    op.add_column("boxes", sa.Column("plan_replaced", sa.String(), nullable=True))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("boxes", "plan_replaced")
    op.drop_column("boxes", "overrides")
    op.drop_index("ix_ops_commits_untold", table_name="ops_commits")
    op.drop_table("ops_commits")
    op.drop_table("git_heads")
