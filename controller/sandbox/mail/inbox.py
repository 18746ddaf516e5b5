"""The mails that were taken: each as it was sent in a file, and decoded in a document."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path

from controller.core import clock
from controller.sandbox.documents import Document, Documents
from controller.sandbox.mail import parsing


class Inbox:
    """Mails in ``folder``, numbered from 1 in the order of their arrival."""

    def __init__(self, folder: Path) -> None:
        """Open the folder or make it."""
        self._documents = Documents(folder)
        self._files = folder / "mails"
        self._files.mkdir(exist_ok=True)
        self._arrived = asyncio.Event()

    def close(self) -> None:
        """Let go of the files."""
        self._documents.close()

    def keep(self, sender: str, recipients: list[str], raw: bytes) -> Document:
        """The mail, which survives our death from here on."""
        letter = parsing.parse(raw)
        number = self._documents.next("mail")
        partial = self._files / f"{number}.partial"
        with partial.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._file(number))
        mail: Document = {
            "id": number,
            "from": letter.sender or sender,
            "to": recipients,
            "envelope_from": sender,
            "subject": letter.subject,
            "text": letter.text,
            "html": letter.html,
            "headers": letter.headers,
            "attachments": [asdict(one) for one in letter.attachments],
            "size_bytes": len(raw),
            "received_at": clock.now().isoformat(),
        }
        self._documents.put("mail", str(number), mail)
        self._arrived.set()
        self._arrived = asyncio.Event()
        return mail

    def find(self, *, to: str | None = None, after: int = 0) -> list[Document]:
        """Mails to the address ``to`` (in any case; None: to anybody) with ids above ``after``, oldest first."""
        mails = self._documents.find("mail", above=("id", after))
        wanted = None if to is None else to.casefold()
        return [one for one in mails if wanted is None or wanted in (each.casefold() for each in one["to"])]

    def newest(self, limit: int) -> list[Document]:
        """So many of the newest mails, newest first."""
        return self._documents.find("mail", newest_first=True, limit=limit)

    async def wait(self, *, to: str | None, after: int, seconds: float) -> list[Document]:
        """What ``find`` finds, as soon as it finds something or after so many seconds."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not (found := self.find(to=to, after=after)):
            try:
                async with asyncio.timeout_at(deadline):
                    await self._arrived.wait()
            except TimeoutError:
                break
        return found

    def get(self, number: int) -> Document | None:
        """The mail, or None."""
        return self._documents.get("mail", str(number))

    def raw(self, number: int) -> bytes | None:
        """The mail as it was sent, or None."""
        return self._file(number).read_bytes() if self.get(number) else None

    def remove(self, number: int) -> bool:
        """Forget the mail; whether there was one."""
        was_there = self._documents.remove("mail", str(number))
        self._file(number).unlink(missing_ok=True)
        return was_there

    def clear(self, to: str | None = None) -> int:
        """Forget the mails to ``to``, or all; how many there were. Ids go on."""
        return sum(self.remove(one["id"]) for one in self.find(to=to))

    def _file(self, number: int) -> Path:
        return self._files / f"{number}.eml"
