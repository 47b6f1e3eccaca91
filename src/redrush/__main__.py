"""`python -m redrush`, and the `redrush` command: to load what a command needs takes a moment, in which it may be
interrupted as well."""

import sys

from redrush.errors import INTERRUPTED


def main() -> None:
    """Run the command line; the process's exit code tells how it went."""
    try:
        from redrush.cli.main import main as run  # noqa: PLC0415 - see the module

        run()
    except KeyboardInterrupt:
        sys.stderr.write("\nredrush: interrupted\n")  # behind the ^C of a terminal
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
