"""notices and pod metrics"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """notices and pod metrics."""
    op.create_table(
        "notices",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("box_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("dedupe_key", sa.String(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["box_id"], ["boxes.id"], name=op.f("fk_notices_box_id_boxes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint(
            "box_id", "kind", "channel", "dedupe_key", name=op.f("uq_notices_box_id_kind_channel_dedupe_key")
        ),
    )
    op.create_index("ix_notices_state", "notices", ["state", "next_attempt_at"], unique=False)
    op.create_table(
        "pod_metrics",
        sa.Column("box_id", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cpu_millicores", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["box_id"], ["boxes.id"], name=op.f("fk_pod_metrics_box_id_boxes")),
        sa.PrimaryKeyConstraint("box_id", "at", name=op.f("pk_pod_metrics")),
    )
    op.create_index("ix_pod_metrics_at", "pod_metrics", ["at"], unique=False)
    op.create_index(
        "ix_inbox_undone", "inbox", ["source", "received_at"], unique=False, postgresql_where="done_at IS NULL"
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_index("ix_inbox_undone", table_name="inbox")
    op.drop_table("pod_metrics")
    op.drop_table("notices")
