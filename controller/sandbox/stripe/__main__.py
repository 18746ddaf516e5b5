"""``python -m controller.sandbox.stripe --port P --data DIR``: serve on 127.0.0.1, or ``--host``, until SIGTERM."""

from __future__ import annotations

from controller.sandbox.serving import options, serve
from controller.sandbox.stripe.app import create_app


def main() -> None:
    """Serve the account kept in ``--data`` on ``--port``."""
    given = options("stripe")
    serve(create_app(given.data), given)


if __name__ == "__main__":
    main()
