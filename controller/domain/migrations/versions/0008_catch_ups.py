"""how far Stripe's own list of events has been read"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add its table; the first reading makes the row."""
    op.create_table(
        "catch_ups",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("reached", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_catch_ups")),
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("catch_ups")
