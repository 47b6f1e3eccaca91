"""`redrush`, whose `stack up` starts servers that can be told to have a slow disk (`DEBUG AOF-FLUSH-SLEEP`)."""

from redrush.cli.main import main
from redrush.processes.valkey_server import ValkeyServer
from redrush.stack import set_servers


class SlowServer(ValkeyServer):
    """A server that heeds DEBUG."""

    def server_command(self) -> list[str]:
        return [*super().server_command(), "--enable-debug-command", "local"]


if __name__ == "__main__":
    vars(set_servers)["ValkeyServer"] = SlowServer
    main()
