"""The SQL files of this package, one statement each."""

from importlib.resources import files


def sql(name: str) -> str:
    """Return the statement in the file `name` of this package."""
    return files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
