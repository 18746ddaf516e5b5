"""``python -m controller.sandbox.telegram --port P --data DIR``: serve on 127.0.0.1, or ``--host``, until SIGTERM."""

from __future__ import annotations

from controller.sandbox.serving import options, serve
from controller.sandbox.telegram.app import create_app


def main() -> None:
    """Serve the bots kept in ``--data`` on ``--port``."""
    given = options("telegram")
    serve(create_app(given.data), given)


if __name__ == "__main__":
    main()
