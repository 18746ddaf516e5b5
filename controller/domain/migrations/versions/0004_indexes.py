"""indexes for drafts' subscriptions, a period's usage and ended retentions"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add them; a box's usage is found by the one that has the time too."""
    op.create_index(op.f("ix_subscriptions_draft_id"), "subscriptions", ["draft_id"], unique=False)
    op.create_index("ix_usage_events_box_id_at", "usage_events", ["box_id", "at"], unique=False)
    op.drop_index(op.f("ix_usage_events_box_id"), table_name="usage_events")
    op.create_index("ix_boxes_condemned", "boxes", ["condemned_at"], postgresql_where="state = 'condemned'")


def downgrade() -> None:
    """Undo it."""
    op.drop_index("ix_boxes_condemned", table_name="boxes")
    op.create_index(op.f("ix_usage_events_box_id"), "usage_events", ["box_id"], unique=False)
    op.drop_index("ix_usage_events_box_id_at", table_name="usage_events")
    op.drop_index(op.f("ix_subscriptions_draft_id"), table_name="subscriptions")
