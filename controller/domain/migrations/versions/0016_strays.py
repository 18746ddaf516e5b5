"""Applications of boxes that their cell does not have"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the table; a watcher that starts sees those that there are."""
    op.create_table(
        "strays",
        sa.Column("cell", sa.String(), nullable=False),
        sa.Column("box_id", sa.String(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("over_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("cell", "box_id", name=op.f("pk_strays")),
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("strays")
