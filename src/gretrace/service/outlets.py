# SPDX-License-Identifier: GPL-2.0-only
"""Where a service tells what it counted: opened, and changed while it goes on."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gretrace.errors import GretraceError
from gretrace.service.chronicle import Chronicle
from gretrace.service.http import Server
from gretrace.service.metrics import CONTENT_TYPE_LATEST
from gretrace.service.page import Page
from gretrace.service.systemd import Journal, Manager
from gretrace.service.textfile import Textfile


@dataclass(frozen=True, slots=True)
class Settings:
    """What is opened; an address and a port to listen on, if any."""

    listen: tuple[str, int] | None = None
    textfile: Path | None = None
    journal: bool = False


class Outlets:
    """The page, and where it goes; `tell` takes sentences about the run itself."""

    def __init__(self, tell: Callable[[str], None], manager: Manager) -> None:
        self.tell, self.manager = tell, manager
        self.page = Page()
        self.textfile: Textfile | None = None
        self.chronicle: Chronicle | None = None
        self._server: Server | None = None
        self._settings = Settings()

    def use(self, settings: Settings) -> None:
        """Open what is new, and close what is no longer wanted; what stays is not touched.

        Raises UsageError where something cannot be opened; then what was open stays so.
        """
        before = self._settings
        server, textfile, chronicle = self._server, self.textfile, self.chronicle
        if settings.textfile != before.textfile:
            textfile = Textfile(settings.textfile) if settings.textfile else None
        if settings.listen != before.listen:
            server = (
                Server(settings.listen, self.page.read, CONTENT_TYPE_LATEST)
                if settings.listen
                else None
            )
        if settings.journal != before.journal:
            chronicle = Chronicle(Journal()) if settings.journal else None
        # All of it can be had; from here on nothing fails.
        if server is not self._server and self._server:
            self._server.close()
        if textfile is not self.textfile and self.textfile:
            self.textfile.close()
        if chronicle is not self.chronicle and self.chronicle:
            self.chronicle.close()
        self._server, self.textfile, self.chronicle = server, textfile, chronicle
        self._settings = settings

    def reload(self, read: Callable[[], Settings]) -> None:
        """Use what the settings are by now; if anything is wrong with them, all stays as it is."""
        self.manager.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self.use(read())
        except GretraceError as error:
            self.tell(f"reload: {error}")
        else:
            self.tell("reloaded")
        self.manager.tell("READY=1")

    def close(self) -> None:
        """Close all."""
        self.use(Settings())
        self.page.close()
