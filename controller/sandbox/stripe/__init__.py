"""Stripe's stand-in: the part of its API that we use (version 2026-10-28.endive), and signed webhooks."""
