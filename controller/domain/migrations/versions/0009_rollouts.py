"""rollouts by ring, the boxes that they move, and what the cluster and the box's gateway say of its health"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the tables, and what is known of no box yet: which release its gateway runs, and since when it is ill."""
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("soak", sa.Interval(), nullable=False),
        sa.Column("patience", sa.Interval(), nullable=False),
        sa.Column("failures_percent", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("ring", sa.Integer(), nullable=True),
        sa.Column("whole_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
    )
    op.create_index("ix_rollouts_state", "rollouts", ["state", "ended_at"], unique=False)
    op.create_table(
        "rollout_moves",
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("box_id", sa.String(), nullable=False),
        sa.Column("ring", sa.Integer(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("undo_job_id", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("healthy_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("falls", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name=op.f("fk_rollout_moves_rollout_id_rollouts")),
        sa.ForeignKeyConstraint(["box_id"], ["boxes.id"], name=op.f("fk_rollout_moves_box_id_boxes")),
        sa.ForeignKeyConstraint(["job_id"], ["operator_jobs.id"], name=op.f("fk_rollout_moves_job_id_operator_jobs")),
        sa.ForeignKeyConstraint(
            ["undo_job_id"], ["operator_jobs.id"], name=op.f("fk_rollout_moves_undo_job_id_operator_jobs")
        ),
        sa.PrimaryKeyConstraint("rollout_id", "box_id", name=op.f("pk_rollout_moves")),
    )
    op.create_index("ix_rollout_moves_state", "rollout_moves", ["rollout_id", "ring", "state"], unique=False)
    op.add_column("boxes", sa.Column("ready_release", sa.String(), nullable=True))
    op.add_column("boxes", sa.Column("ill_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("boxes", sa.Column("illness", sa.String(), nullable=True))


def downgrade() -> None:
    """Undo it; boxes keep the releases that they have."""
    for name in ("illness", "ill_since", "ready_release"):
        op.drop_column("boxes", name)
    op.drop_index("ix_rollout_moves_state", table_name="rollout_moves")
    op.drop_table("rollout_moves")
    op.drop_index("ix_rollouts_state", table_name="rollouts")
    op.drop_table("rollouts")
