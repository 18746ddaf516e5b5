"""``python -m controller.sandbox.mail --port P --smtp-port S --data DIR``: serve on 127.0.0.1 until SIGTERM."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from controller.core import log as logs
from controller.sandbox.mail.app import create_app


def main() -> None:
    """Take mail on ``--smtp-port`` and show what is kept in ``--data`` on ``--port``."""
    parser = argparse.ArgumentParser(prog="controller.sandbox.mail")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    logs.configure("mail")
    # 0: waits that are still open when the stop comes are cut, so that it takes no second.
    app = create_app(given.data, given.smtp_port)
    uvicorn.run(app, port=given.port, log_config=None, timeout_graceful_shutdown=0)


if __name__ == "__main__":
    main()
