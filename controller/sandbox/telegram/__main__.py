"""``python -m controller.sandbox.telegram --port P --data DIR``: serve on 127.0.0.1 until SIGTERM."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from controller.core import log as logs
from controller.sandbox.telegram.app import create_app


def main() -> None:
    """Serve the bots kept in ``--data`` on ``--port``."""
    parser = argparse.ArgumentParser(prog="controller.sandbox.telegram")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    logs.configure("telegram")
    # 0: long polls still open when the stop comes are cut, so that it takes no second.
    uvicorn.run(create_app(given.data), port=given.port, log_config=None, timeout_graceful_shutdown=0)


if __name__ == "__main__":
    main()
