"""`redrush backup` and `redrush restore`: all of a data directory, and back."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import JsonOption, WhoOption, show, who_is

if TYPE_CHECKING:
    from redrush.operate.backup import Restored

DirectoryOption = Annotated[Path, Option("--data", metavar="DIR", help="Data directory of a single server.")]


def add_to(app: Group) -> None:
    """Add the commands."""
    app.command("backup")(backup_directory)
    app.command("restore")(restore_directory)


def backup_directory(
    to: Annotated[Path, Argument(metavar="TO", help="A new directory for the backup.")],
    data: DirectoryOption,
    as_json: JsonOption = False,
) -> None:
    """Copy all of a data directory, of one moment, while the server runs, with the hash of every file."""
    import msgspec

    from redrush.control.data_dir import DataDir
    from redrush.operate.backup import backup

    manifest = backup(DataDir(data), to, _tell)
    _end_progress()
    others = f", and {len(manifest.campaigns)} more campaigns below campaigns/" if manifest.campaigns else ""
    lines = [
        f"{to}: {len(manifest.files)} files, {manifest.grants} grants, up to log record {manifest.seq}{others}; it has "
        "the keys: keep it as secret as the directory"
    ]
    show(msgspec.to_builtins(manifest), lines, as_json=as_json)


def restore_directory(
    source: Annotated[Path, Argument(metavar="FROM", help="A backup that `redrush backup` made.")],
    data: DirectoryOption,
    only: Annotated[
        list[str] | None, Option("--only", metavar="NAME", help="Only this file, such as keys.json; repeatable.")
    ] = None,
    receipts: Annotated[
        Path | None,
        Option("--receipts", metavar="FILE", help="Receipts to compare with, one a line."),
    ] = None,
    as_new_generation: Annotated[
        bool, Option("--as-new-generation", help="Although grants are known that the backup lacks.")
    ] = False,
    who: WhoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup back; refused where the directory, or a receipt, knows of grants that the backup lacks."""
    import msgspec

    from redrush.control.data_dir import DataDir
    from redrush.operate.backup import restore, restore_files
    from redrush.operate.receipts_file import read_receipts

    directory = DataDir(data)
    if only:
        manifest = restore_files(source, directory, only, _tell)
        _end_progress()
        fields = {"restored": only, "made_at": manifest.made_at}
        show(fields, [f"{data}: {', '.join(only)} is as it was at {manifest.made_at}"], as_json=as_json)
        return
    lines = [] if receipts is None else read_receipts(receipts)
    restored = restore(
        source,
        directory,
        receipts=lines,
        as_new_generation=as_new_generation,
        who=who_is(who),
        tell=_tell,
    )
    _end_progress()
    first, *others = (
        {"backup": msgspec.to_builtins(one.manifest), **msgspec.to_builtins(one.mended)} for one in restored
    )
    said = [line for one in restored for line in _restored_lines(one)]
    show({**first, "campaigns": others}, said, as_json=as_json)


def _restored_lines(restored: "Restored") -> list[str]:
    at, manifest, mended = restored.directory, restored.manifest, restored.mended
    said = [
        f"{at}: {manifest.grants} grants, up to log record {manifest.seq} of {manifest.made_at}, in generation "
        f"{mended.generation}",
        f"{at}: what was granted after {manifest.made_at} is not in it: before you serve it, "
        f"`redrush set honour --data {at} --receipts FILE` enters it again by receipts",
    ]
    if mended.kept_back:
        said.append(f"{at}: {mended.kept_back} slots are kept back for these")
    if mended.old is not None:
        said.append(f"{at}: the journal that was there is kept as {mended.old}")
    return said


def _tell(name: str, done: int, total: int) -> None:
    """Show how far a file is, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{name} {100 * done // max(total, 1)}%")
        sys.stderr.flush()


def _end_progress() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
