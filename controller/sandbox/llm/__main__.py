"""``python -m controller.sandbox.llm --port P --data DIR --key K``: serve on 127.0.0.1 until SIGTERM."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from controller.core import log as logs
from controller.sandbox.llm.app import create_app


def main() -> None:
    """Serve the model whose memory is ``--data`` on ``--port`` to whoever brings ``--key``."""
    parser = argparse.ArgumentParser(prog="controller.sandbox.llm")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--key", required=True)
    given = parser.parse_args()
    logs.configure("llm")
    # 0: streams still open when the stop comes are cut, so that it takes no second.
    uvicorn.run(create_app(given.data, given.key), port=given.port, log_config=None, timeout_graceful_shutdown=0)


if __name__ == "__main__":
    main()
