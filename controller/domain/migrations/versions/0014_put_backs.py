"""commits of ours that put files back are known before they are pushed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the table; what was put back before is read already."""
    op.create_table(
        "put_backs",
        sa.Column("sha", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha", name=op.f("pk_put_backs")),
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("put_backs")
