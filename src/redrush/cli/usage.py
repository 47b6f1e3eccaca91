"""Wrong usage, told in one sentence: what is wrong, and the command that explains."""

import sys

import click

from redrush.cli.declaring import Group
from redrush.errors import INTERRUPTED, ConfigError, RedrushError


class Interrupted(RedrushError):
    """Somebody has ended the command with Ctrl-C; whether all is right is not known."""

    exit_code = INTERRUPTED


def run_app(app: Group) -> None:
    """Run the command line of this process. ConfigError for wrong usage, Interrupted after Ctrl-C, else SystemExit
    when it has ended."""
    try:
        code = app.main(prog_name="redrush", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as fault:
        fault.show()  # asked for nothing: what there is to ask for
        sys.exit(fault.exit_code)
    except click.exceptions.UsageError as fault:
        path = "redrush" if fault.ctx is None else fault.ctx.command_path
        raise ConfigError(f"{_begun(fault.format_message())} `{path} --help` says what there is") from None
    except click.Abort:
        raise Interrupted("interrupted") from None
    sys.exit(code if isinstance(code, int) else 0)  # that of an Exit is returned


def _begun(text: str) -> str:
    """Return the sentence on one line, for more to follow."""
    line = " ".join(text.split()).removesuffix(".")
    return line if line.endswith(("?", "?)")) else f"{line};"
