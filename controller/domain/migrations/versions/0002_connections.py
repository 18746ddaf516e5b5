"""connections"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """connections."""
    op.create_table(
        "customer_connections",
        sa.Column("box_id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('connected', 'needs_reconnect', 'disconnected')",
            name=op.f("ck_customer_connections_status"),
        ),
        sa.ForeignKeyConstraint(["box_id"], ["boxes.id"], name=op.f("fk_customer_connections_box_id_boxes")),
        sa.PrimaryKeyConstraint("box_id", "provider", name=op.f("pk_customer_connections")),
    )
    op.add_column("boxes", sa.Column("ready_profile", sa.Integer(), nullable=False, server_default="0"))
    op.alter_column("boxes", "ready_profile", server_default=None)


def downgrade() -> None:
    """back to before: connections."""
    op.drop_column("boxes", "ready_profile")
    op.drop_table("customer_connections")
