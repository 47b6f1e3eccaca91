"""The console as a process: the admin API and its pages on one port, until it is told to end.

It holds no truth and nobody waits for it: killing it changes nothing about an event.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import uvicorn

from redrush.api.app import behind_door, make_app
from redrush.api.desk import Desk, first_admin
from redrush.config.console_login_file import load_console_login_file
from redrush.console.pages import PAGES, fault_page
from redrush.control.data_dir import DataDir
from redrush.core.sets.address import Address
from redrush.errors import ConfigError
from redrush.extras import require
from redrush.http.asgi_server import AsgiServer
from redrush.http.sockets import Reserved
from redrush.wiring.clock import system_clock

if TYPE_CHECKING:
    from redrush.api.provider_login import ProviderLogin

CONNECTIONS_MAX: Final = 256
GRACE_S: Final = 1
"""How long open streams may take to end; they begin anew at the next start."""


class ConsoleOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how the console answers."""

    host: str = "127.0.0.1"
    port: int = 8090
    names: tuple[str, ...] = ()
    """Under which it answers besides loopback's, its own, and every address."""
    cert: Path | None = None
    key: Path | None = None
    behind_tls: bool = False
    """A proxy in front of it speaks TLS."""
    payments: Path | None = None
    """The file with who moves money; None: that of the deployment, if there is one."""
    login: Path | None = None
    """The file of a provider with whom people may log in besides."""

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.cert is not None or self.behind_tls

    def check(self) -> None:
        """Raise ConfigError for what must not be."""
        if (self.cert is None) != (self.key is None):
            raise ConfigError("--cert goes with --key: give both files or neither")
        if not self.secure and self.host not in {"127.0.0.1", "::1", "localhost"}:
            raise ConfigError(
                f"the console would send passwords in the clear over {self.host}: give it --cert and --key, or say "
                "--behind-tls if a proxy in front of it speaks TLS; plain HTTP is for loopback"
            )


Announce = Callable[[Address, str | None], None]
"""Hears where it answers, and the first admin's password, if it was made now."""


def provider_of(file: Path, now_s: Callable[[], int]) -> "ProviderLogin":
    """Return the provider that a login file of the console names. ConfigError for a wrong file, or a missing extra."""
    require("login", "redrush console --login")
    from redrush.api.provider_login import ProviderLogin  # noqa: PLC0415 - an extra

    return ProviderLogin(load_console_login_file(file), now_s)


def run_console(data_dir: DataDir, deploy: Path | None, options: ConsoleOptions, announce: Announce) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP. ConfigError if it cannot be started."""
    options.check()
    clock = system_clock()
    desk = Desk(data_dir, deploy, clock.now_us, options.payments)
    if options.login is not None:
        desk.provider = provider_of(options.login, desk.now_s)
    reserved = Reserved.at(options.host, options.port)
    password = first_admin(desk.people.changes, desk.now_s())
    app = behind_door(
        make_app(desk, secure=options.secure, further=PAGES, elsewhere=fault_page), (options.host, *options.names)
    )
    server = AsgiServer(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_graceful_shutdown=GRACE_S,
            ssl_certfile=options.cert,
            ssl_keyfile=options.key,
            loop="uvloop",
            http="httptools",
        )
    )

    async def main() -> None:
        announce(Address(options.host, reserved.port), password)
        await server.serve(sockets=reserved.sockets)

    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(main())
