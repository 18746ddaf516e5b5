"""calls of the models before they are usage, usage by period and price, and word of who may no longer call"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"

TELL = """
CREATE FUNCTION tell_proxies() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('oc_admission', coalesce(to_jsonb(NEW), to_jsonb(OLD)) ->> TG_ARGV[0]);
  RETURN NULL;
END $$
"""
TRIGGERS = {
    "boxes": "AFTER UPDATE OF state, plan, locale ON boxes FOR EACH ROW EXECUTE FUNCTION tell_proxies('id')",
    "proxy_tokens": "AFTER UPDATE OR DELETE ON proxy_tokens FOR EACH ROW EXECUTE FUNCTION tell_proxies('box_id')",
    "subscriptions": "AFTER UPDATE OF period_start, period_end, box_id ON subscriptions FOR EACH ROW "
    "WHEN (NEW.box_id IS NOT NULL) EXECUTE FUNCTION tell_proxies('box_id')",
}
PERIODS = """
UPDATE usage_events e SET period_start = coalesce(
  (SELECT max(m.period_start) FROM usage_monthly m WHERE m.box_id = e.box_id AND m.period_start <= e.at), e.at)
"""


def upgrade() -> None:
    """Add the tables and triggers; what was used before belongs to the period in which it was measured."""
    op.create_table(
        "proxies",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proxies")),
    )
    op.create_table(
        "reservations",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("proxy_id", sa.String(), nullable=False),
        sa.Column("box_id", sa.String(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("held_tokens", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_microusd", sa.BigInteger(), nullable=False),
        sa.Column("delivering", sa.Boolean(), nullable=False),
        sa.Column("measured", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_reservations")),
    )
    op.create_index("ix_reservations_box_id_period_start", "reservations", ["box_id", "period_start"])
    op.create_index("ix_reservations_proxy_id", "reservations", ["proxy_id"])
    op.add_column("usage_events", sa.Column("period_start", sa.DateTime(timezone=True), nullable=True))
    op.execute(PERIODS)
    op.alter_column("usage_events", "period_start", nullable=False)
    op.create_index("ix_usage_events_box_id_period_start", "usage_events", ["box_id", "period_start"])
    for table in ("usage_events", "usage_monthly"):
        op.add_column(table, sa.Column("cost_microusd", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("proxy_tokens", sa.Column("refusal", sa.String(), server_default="message", nullable=False))
    op.execute(TELL)
    for table, rest in TRIGGERS.items():
        op.execute(f"CREATE TRIGGER tell_proxies_{table} {rest}")


def downgrade() -> None:
    """Undo it."""
    for table in TRIGGERS:
        op.execute(f"DROP TRIGGER tell_proxies_{table} ON {table}")
    op.execute("DROP FUNCTION tell_proxies()")
    op.drop_column("proxy_tokens", "refusal")
    for table in ("usage_monthly", "usage_events"):
        op.drop_column(table, "cost_microusd")
    op.drop_index("ix_usage_events_box_id_period_start", table_name="usage_events")
    op.drop_column("usage_events", "period_start")
    op.drop_table("reservations")
    op.drop_table("proxies")
