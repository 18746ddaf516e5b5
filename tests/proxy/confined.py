"""The translator in a process that may write nowhere but in the folder that it is told, and what it tried.

Prints as JSON who it was, what it answered over each wire, and what Python's own audit saw of it: every address that
was connected to, every name that was looked up, every file that was opened to be written.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRIED: dict[str, set[str]] = {"connected": set(), "looked up": set(), "written": set()}


def _at(arguments: tuple[Any, ...]) -> str:
    address = arguments[1]
    return str(address[0]) if isinstance(address, tuple) else str(address)


_NOTED: dict[str, tuple[str, Callable[[tuple[Any, ...]], str]]] = {
    "socket.connect": ("connected", _at),
    "socket.sendto": ("connected", _at),
    "socket.getaddrinfo": ("looked up", lambda arguments: str(arguments[0])),
    "os.mkdir": ("written", lambda arguments: str(arguments[0])),
    "os.rename": ("written", lambda arguments: str(arguments[1])),
}


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what goes out or is written."""
    if event in _NOTED:
        kind, told = _NOTED[event]
        TRIED[kind].add(told(arguments))
    elif event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        TRIED["written"].add(str(arguments[0]))


async def answers(folder: Path) -> dict[str, list[int]]:
    """The statuses of a call in one piece and of a stream, over each wire."""
    import httpx

    from controller.sandbox.llm.app import create_app
    from proxy import translator
    from proxy.leaving import Connection
    from tests.proxy.wires import CALLS, KEY, MESSAGES, TOKEN, TOOLS, WIRES, translating
    from tests.sandbox.stripe.serving import serving

    with (
        serving(create_app(folder, KEY)) as model,
        serving(translator.create(translating(model)), Connection) as base,
    ):
        httpx.put(f"{model}/_control/script", json={"replies": [{"text": "oi", "tool_calls": CALLS}] * 9})
        found: dict[str, list[int]] = {}
        async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {TOKEN}"}) as client:
            for wire in WIRES[1:]:
                body = {"model": wire, "messages": MESSAGES, "tools": TOOLS, "max_tokens": 99}
                calls = [client.post("/v1/chat/completions", json={**body, "stream": one}) for one in (False, True)]
                found[wire] = [(await call).status_code for call in calls]
        return found


def main(folder: Path) -> None:
    """Be the process."""
    sys.addaudithook(watch)
    said = asyncio.run(answers(folder))
    tried = {kind: sorted(one) for kind, one in TRIED.items()}
    print(json.dumps({"uid": os.getuid(), "home": os.environ.get("HOME"), "answers": said, **tried}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
