"""boxes that an admin stopped at once, those of which only rows are left, and what the cluster says"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "stoppages",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("box_id", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("halted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lifted_by", sa.String(), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["box_id"], ["boxes.id"], name=op.f("fk_stoppages_box_id_boxes")),
        sa.ForeignKeyConstraint(["job_id"], ["operator_jobs.id"], name=op.f("fk_stoppages_job_id_operator_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stoppages")),
    )
    op.create_index("ix_stoppages_box_id", "stoppages", ["box_id"])
    op.create_index("uq_stoppages_open", "stoppages", ["box_id"], unique=True, postgresql_where="released_at IS NULL")
    op.create_table(
        "retirements",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["operator_jobs.id"], name=op.f("fk_retirements_job_id_operator_jobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_retirements")),
    )
    op.add_column("boxes", sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))
    unretired = "state = 'destroyed' AND retired_at IS NULL"
    op.create_index("ix_boxes_unretired", "boxes", ["id"], postgresql_where=unretired)
    op.create_table(
        "sightings",
        sa.Column("box_id", sa.String(), nullable=False),
        sa.Column("rev", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("sync", "health", "phase", "operation")),
        sa.Column("message", sa.String(), nullable=True),
        sa.Column("resources", sa.Integer(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("drifted_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_drift_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("self_heals", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["box_id"], ["boxes.id"], name=op.f("fk_sightings_box_id_boxes")),
        sa.PrimaryKeyConstraint("box_id", name=op.f("pk_sightings")),
    )
    amiss = "drifted_since IS NOT NULL OR phase IN ('Failed', 'Error') OR health = 'Degraded'"
    op.create_index("ix_sightings_amiss", "sightings", ["box_id"], postgresql_where=amiss)


def downgrade() -> None:
    """Undo it."""
    op.drop_index("ix_sightings_amiss", table_name="sightings")
    op.drop_table("sightings")
    op.drop_index("ix_boxes_unretired", table_name="boxes")
    op.drop_column("boxes", "retired_at")
    op.drop_table("retirements")
    op.drop_index("uq_stoppages_open", table_name="stoppages")
    op.drop_index("ix_stoppages_box_id", table_name="stoppages")
    op.drop_table("stoppages")
