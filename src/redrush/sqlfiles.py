"""SQL lives in .sql files next to the module that runs it; this reads one as a table of named statements."""

import importlib.resources
import re

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_statements(package: str, file_name: str) -> dict[str, str]:
    """Return the statements of a package's SQL file by name; each follows a line `-- name: the_name`."""
    text = importlib.resources.files(package).joinpath(file_name).read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def load_numbered(package: str) -> dict[int, str]:
    """Return the scripts of a package's `migrations` folder by their numbers, `0003_….sql` by 3, in order. Raises
    ValueError for two of one number: each would be the only one somewhere."""
    folder = importlib.resources.files(package).joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    found = {int(name.partition("_")[0]): name for name in names}
    if len(found) < len(names):
        raise ValueError(f"{package}: two migrations have one number: {', '.join(names)}")
    return {number: folder.joinpath(name).read_text(encoding="utf-8") for number, name in found.items()}
