"""``python -m controller.sandbox.llm --port P --data DIR --key K``: serve on 127.0.0.1, or ``--host``, till SIGTERM."""

from __future__ import annotations

from controller.sandbox.llm.app import create_app
from controller.sandbox.serving import options, serve


def main() -> None:
    """Serve the model whose memory is ``--data`` on ``--port`` to whoever brings ``--key``."""
    given = options("llm", "key")
    serve(create_app(given.data, given.key), given)


if __name__ == "__main__":
    main()
