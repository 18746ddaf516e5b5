"""``python -m controller`` is ``openclaw-cloud``."""

from __future__ import annotations

from controller.cli import main

main()
