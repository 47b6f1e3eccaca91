"""The login as a process. It holds nothing: any number may serve one address, and killing one loses nobody's login."""

import asyncio
from collections.abc import Callable
from typing import Final

import uvicorn

from redrush.config.login_file import LoginFile
from redrush.core.sets.address import Address
from redrush.http.asgi_server import AsgiServer
from redrush.http.sockets import Reserved
from redrush.login.app import Logins, make_app
from redrush.login.oidc import ProviderAway

CONNECTIONS_MAX: Final = 2_000
GRACE_S: Final = 5

Announce = Callable[[Address, str | None], None]
"""Hears where it answers, and what is wrong with the provider just now, if anything is."""


def run_login(terms: LoginFile, host: str, port: int, announce: Announce) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP. ConfigError if it cannot be started."""
    logins = Logins(terms)
    reserved = Reserved.at(host, port)
    server = AsgiServer(
        uvicorn.Config(
            make_app(logins),
            log_config=None,
            access_log=False,  # codes and states stand in its addresses
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_graceful_shutdown=GRACE_S,
            loop="uvloop",
            http="httptools",
        )
    )

    async def main() -> None:
        trouble = None
        try:
            await logins.provider.metadata()
        except ProviderAway as fault:
            trouble = str(fault)
        announce(Address(host, reserved.port), trouble)
        await server.serve(sockets=reserved.sockets)

    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(main())
