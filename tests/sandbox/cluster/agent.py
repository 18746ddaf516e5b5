#!/usr/bin/env python3
"""The container of these tests: answers on its port, keeps a journal of its lives, and misbehaves on request."""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def note(word: str) -> None:
    with open(os.path.join(os.environ["DATA"], "journal"), "a") as journal:
        journal.write(f"{word} {os.getpid()}\n")


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"env": dict(os.environ), "uid": os.getuid(), "groups": os.getgroups(), "pid": os.getpid()})
        self.send_response(200 if self.path in {"/healthz", "/about"} else 404)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


def end(*_: object) -> None:
    time.sleep(float(os.environ["STOP_SECONDS"]))
    note("end")
    os._exit(0)


if __name__ == "__main__":
    print("agent says hello", flush=True)
    if os.environ["MODE"] == "crash":
        sys.exit(3)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ["MODE"] == "stubborn" else end)
    note("start")
    time.sleep(float(os.environ["BOOT_SECONDS"]))
    first_of_its_kind = os.path.join(os.environ["DATA"], os.environ["NOTE"])
    if os.environ["MODE"] == "crash-once" and not os.path.exists(first_of_its_kind):
        open(first_of_its_kind, "w").close()
        os._exit(4)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["OPENCLAW_GATEWAY_PORT"])), Answer).serve_forever()
