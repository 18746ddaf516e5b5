"""a box may be owned by nobody while it stands by, and for ever if it was ended before anybody claimed it"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Let the owner be none for those; every box that there is has one."""
    op.alter_column("boxes", "customer_id", nullable=True)
    owner = "customer_id IS NOT NULL OR state IN ('standby', 'condemned', 'destroyed')"
    op.create_check_constraint(op.f("ck_boxes_owner"), "boxes", owner)
    op.create_index("ix_boxes_standby", "boxes", ["created_at"], postgresql_where="state = 'standby'")


def downgrade() -> None:
    """Undo it; fails while there are boxes without an owner."""
    op.drop_index("ix_boxes_standby", table_name="boxes")
    op.drop_constraint(op.f("ck_boxes_owner"), "boxes", type_="check")
    op.alter_column("boxes", "customer_id", nullable=False)
