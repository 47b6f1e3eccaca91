"""Commands as functions: their parameters are declared where they are annotated, and click parses what is typed.

    def ticket(data: Annotated[Path, Option("--data", metavar="DIR", help="…")], count: Annotated[int, Option()] = 1): …

A parameter without a default is required, `None` is no value, a list is repeatable, and a docstring is the help. It is
a few lines over click, which needs no other package. Rejected: typer, whose face this is. It brings 13 MB that colour
what no server prints (rich and pygments), and its later releases bring more. Its slim form has ended, and where another
program has installed the whole one, each overwrites files of the other.
"""

import inspect
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import click

Function = TypeVar("Function", bound=Callable[..., Any])

_TYPES: Final[dict[Any, click.ParamType[Any]]] = {
    str: click.STRING, int: click.INT, float: click.FLOAT, bool: click.BOOL, Path: click.Path(path_type=Path),
}  # fmt: skip

SENTENCE_MAX: Final = 400
NARROW_COLUMNS: Final = 52
"""Of a terminal: click writes 50 and keeps two free."""
LEAST_COLUMNS: Final = 24
"""What is written at least, however narrow it is: an option and a word."""


class Option:
    """An option: its names (by default the parameter's), what its value is called, its bounds, and the variable of the
    environment that it comes from otherwise. `callback` may change the value; an eager one is before all others."""

    def __init__(
        self,
        *names: str,
        help: str,  # noqa: A002 - as click calls it
        metavar: str | None = None,
        bounds: tuple[int | None, int | None] | None = None,
        envvar: str | None = None,
        callback: Callable[[click.Context, click.Parameter, Any], Any] | None = None,
        is_eager: bool = False,
    ) -> None:
        self.names = names
        self.bounds = bounds
        self.settings: dict[str, Any] = {
            "help": help, "metavar": metavar, "envvar": envvar, "callback": callback, "is_eager": is_eager,
        }  # fmt: skip


class Argument:
    """An argument, which is known by its place."""

    def __init__(self, *, help: str | None = None, metavar: str | None = None) -> None:  # noqa: A002 - as click calls it
        self.settings: dict[str, Any] = {"help": help, "metavar": metavar}


HELP_NAMES: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}
"""Of every command by itself: click keeps the names that a command first had, and without a group those lack `-h`."""


class _Command(click.Command):
    """A command whose wrong usage is told as its own: click's parser does not say whose a missing value is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as fault:
            fault.ctx = fault.ctx or ctx
            raise


class Group(_Command, click.Group):
    """Commands under one name. Without one of them it says which there are, `sections` of them under their headings."""

    def __init__(self, help: str | None = None, sections: Mapping[str, Sequence[str]] = {}) -> None:  # noqa: A002 - as click calls it
        super().__init__(help=help, no_args_is_help=True, context_settings=HELP_NAMES)
        self._sections = sections

    def command(  # type: ignore[override]  # what click's decorators say about a function, its annotations do
        self, name: str | None = None, **settings: Any
    ) -> Callable[[Function], Function]:
        """Make the function a command, under its own name if no other is given; `settings` are click's."""

        def add(function: Function) -> Function:
            called = name or function.__name__.replace("_", "-")
            settings.setdefault("help", inspect.cleandoc(function.__doc__ or ""))
            params, run = _declared(function)
            settings["context_settings"] = HELP_NAMES | settings.get("context_settings", {})
            self.add_command(_Command(called, params=params, callback=run, **settings))
            return function

        return add

    def before_each(self, function: Function) -> Function:
        """Call the function before any of the commands, with options of the group. Its docstring is the group's help,
        if there is no other."""
        self.params, self.callback = _declared(function)
        self.help = self.help or inspect.cleandoc(function.__doc__ or "")
        return function

    def add_group(self, group: "Group", name: str) -> None:
        """Put a group under this name."""
        self.add_command(group, name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Tell the first sentence of each command, whole: click would cut it where the line ends."""
        named = {name: one.get_short_help_str(SENTENCE_MAX) for name, one in self.commands.items() if not one.hidden}
        for heading, names in (self._sections or {"Commands": list(named)}).items():
            with formatter.section(heading):
                formatter.write_dl([(name, named[name]) for name in names])


class _Help(click.HelpFormatter):
    """Help that fits a narrow terminal too: click takes none for narrower than 50 columns."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        columns = shutil.get_terminal_size().columns
        self._narrow = width is None and columns < NARROW_COLUMNS
        super().__init__(indent_increment, max(columns - 2, LEAST_COLUMNS) if self._narrow else width, max_width)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write what is named and what is said of it, below it where there is no room beside."""
        super().write_dl(rows, 0 if self._narrow else col_max, col_spacing)


click.Context.formatter_class = _Help


def _declared(function: Callable[..., Any]) -> tuple[list[click.Parameter], Callable[..., Any]]:
    """Return the parameters, and what click calls with the values that were typed."""
    signature = inspect.signature(function)
    asks_context = [name for name, one in signature.parameters.items() if one.annotation is click.Context]
    declared = {name: one for name, one in signature.parameters.items() if name not in asks_context}
    lists = {name: one.default for name, one in declared.items() if _kind_of(one)[1]}

    def run(**values: Any) -> Any:
        for name, default in lists.items():
            values[name] = list(values[name]) or (None if default is inspect.Parameter.empty else default)
        for name in asks_context:
            values[name] = click.get_current_context()
        return function(**values)

    return [_parameter(name, one) for name, one in declared.items()], run


def _kind_of(declared: inspect.Parameter) -> tuple[Any, bool]:
    """Return the type of one value, and whether there may be several."""
    assert get_origin(declared.annotation) is Annotated, f"{declared.name} is annotated with no Option or Argument"
    kind = get_args(declared.annotation)[0]
    if get_origin(kind) in {Union, UnionType}:
        (kind,) = (one for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) is list:
        return get_args(kind)[0], True
    return kind, False


def _parameter(name: str, declared: inspect.Parameter) -> click.Parameter:
    kind, several = _kind_of(declared)
    said = get_args(declared.annotation)[1]
    settings = dict(said.settings)
    required = declared.default is inspect.Parameter.empty
    if get_origin(kind) is Literal:
        settings["type"] = click.Choice(get_args(kind))
    elif isinstance(said, Option) and said.bounds is not None:
        least, most = said.bounds
        settings["type"] = (click.IntRange if kind is int else click.FloatRange)(least, most)
    else:
        settings["type"] = _TYPES[kind]
    settings |= {"required": required} if required or several else {"default": declared.default}
    if isinstance(said, Argument):
        return click.Argument([name], nargs=-1 if several else 1, **settings)
    if kind is bool:
        del settings["type"], settings["metavar"]
        settings["is_flag"] = True
    return click.Option(
        [name, *(said.names or (f"--{name.replace('_', '-')}",))],
        multiple=several,
        show_default=declared.default not in {None, ""},
        show_envvar=True,
        **settings,
    )
