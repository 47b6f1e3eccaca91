"""What `reconcile` says where the books of packets and of payments do not agree with the log."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from redrush.control.data_dir import DataDir
from redrush.operate.data_dir_reports import reconcile_data_dir
from tests.wiring.group_world import Skipping, group_server

FAULTS: dict[str, tuple[str, str, str]] = {
    "unpaid": ("payments.db", "DELETE FROM postings WHERE id = 'spend:packet:c:' || :open", "nobody has paid it"),
    "paid by another": (
        "payments.db",
        "UPDATE postings SET debit_account = 'user:eve' WHERE id = 'spend:packet:c:' || :open",
        "its sender ann owes 1000",
    ),
    "paid too little": (
        "payments.db",
        "UPDATE postings SET amount_minor = 999 WHERE id = 'spend:packet:c:' || :open",
        "its sender ann owes 1000",
    ),
    "given back twice": (
        "payments.db",
        "UPDATE postings SET amount_minor = 2 * amount_minor WHERE id = 'credit:rest:' || :over",
        "is what is left",
    ),
    "never given back": ("payments.db", "DELETE FROM postings WHERE id = 'credit:rest:' || :over", "is what is left"),
    "given back for nothing": (
        "payments.db",
        "INSERT INTO postings VALUES ('c', 'credit:rest:' || hex(:open) || hex(:over), 'sponsor', 'user:eve', 5, 1)",
        "in no book",
    ),
    "other shares": (
        "packets.db",
        "UPDATE packets SET content = CAST(replace(CAST(content AS TEXT), '\"amounts\":[', '\"amounts\":[1,') AS BLOB)"
        " WHERE id = :open",
        "were paid",
    ),
}


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A directory with an open packet of ann's, and one that ended with something left."""
    import asyncio  # noqa: PLC0415

    directory, ids = tmp_path_factory.mktemp("packets"), {}

    async def run() -> None:
        clock = Skipping()
        async with group_server(directory, clock=clock) as people:
            await people.win("ann")
            ids["open"], ids["over"] = await people.send("ann"), await people.send("ann")
            for packet in ids.values():
                await people.grab("bob", packet)
            await people.ask("ann", "DELETE", f"/packets/{ids['over']}")

    asyncio.run(run())
    return directory, ids


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_told(event: tuple[Path, dict[str, str]], fault: str) -> None:
    directory, ids = event
    file, statement, told = FAULTS[fault]
    path = directory / file
    assert reconcile_data_dir(DataDir(directory)).problems == ()
    before = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection, connection:
        values = {name: id_ for name, id_ in ids.items() if f":{name}" in statement}
        assert connection.execute(statement, values).rowcount == 1
    try:
        problems = reconcile_data_dir(DataDir(directory)).problems
        assert any(told in problem for problem in problems), problems
    finally:
        for end in ("-wal", "-shm"):
            path.with_name(file + end).unlink(missing_ok=True)
        path.write_bytes(before)
