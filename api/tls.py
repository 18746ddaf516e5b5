"""TLS from files that are renewed while the process runs, as cert-manager does with a mounted Secret."""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509

from controller.core import log as logs
from controller.core import metrics
from controller.core.errors import foreign
from controller.core.settings import SettingsError

log = logs.get(__name__)

ENDS = metrics.gauge(
    "tls_certificate_end_timestamp_seconds", "When the certificate that callers are shown ends; 0: plain HTTP"
)


class Certificate:
    """A certificate chain and its key: each new connection gets what the files hold by then."""

    def __init__(self, chain: Path, key: Path) -> None:
        """Raises SettingsError if the files do not hold a chain and its key."""
        self._files = (chain, key)
        try:
            self._seen = self._state()
            self._newest = self._taken()
        except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
            raise SettingsError("setting_wrong", variable="SECRETS_TLS_CERT", reason=foreign(exc)) from exc

    def context(self) -> ssl.SSLContext:
        """The context to listen with."""
        outer = self._load()
        outer.sni_callback = self._choose
        return outer

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _outer: ssl.SSLContext) -> None:
        """Called at every handshake, with or without a name."""
        try:
            state = self._state()
            if state != self._seen:
                self._newest, self._seen = self._taken(), state
                log.info("tls.certificate_renewed")
        except (OSError, ValueError) as exc:
            log.warning("tls.renewal_unreadable", error=foreign(exc))  # the old one may be good for days
        connection.context = self._newest

    def _state(self) -> list[tuple[int, int, int]]:
        found = [file.stat() for file in self._files]
        return [(one.st_ino, one.st_mtime_ns, one.st_size) for one in found]

    def _taken(self) -> ssl.SSLContext:
        """What the files hold, from now on shown to callers and to Prometheus."""
        made = self._load()
        own, *_ = x509.load_pem_x509_certificates(self._files[0].read_bytes())  # the authorities come after it
        ENDS.set(own.not_valid_after_utc.timestamp())
        return made

    def _load(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(*self._files, password="")  # an encrypted key is an error, not a question to nobody
        return made
