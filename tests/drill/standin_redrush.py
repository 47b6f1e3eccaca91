"""A small redrush to hold the demo against: the same commands, files and HTTP, kept in memory and as simple as can be.

It can be told to go wrong (`--fault NAME` before the command), which the real one must not:
`dies` ends before `ready`; `dies_later` during the event; `loses` exports one grant fewer than it answered;
`unbalanced` fails its reconciliation.
"""

import asyncio
import hashlib
import signal
import sys
import tomllib
from array import array
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.drill.rush_server import RushServer, ServerConnection, ServerRound, instant


def main(arguments: list[str]) -> int:
    fault = ""
    if arguments[0] == "--fault":
        fault, arguments = arguments[1], arguments[2:]
    command = arguments[0]
    options = {name: value for name, value in pairwise(arguments) if name.startswith("--")}
    data = Path(options["--data"])
    if command == "ticket":
        for user in Path(options["--users"]).read_text().split():
            print(f"{user}\tticket-of-{user}")  # noqa: T201 - a command
    elif command == "seal":
        (data / "keys.json").write_text("{}")
    elif command == "export":
        lines = (data / "grants.jsonl").read_text().splitlines()
        print("\n".join(lines[1:] if fault == "loses" else lines))  # noqa: T201 - a command
    elif command == "reconcile":
        print('{"ok": false, "difference": "0.01"}' if fault == "unbalanced" else '{"ok": true}')  # noqa: T201 - a command
        return int(fault == "unbalanced")
    elif fault == "dies":
        sys.stderr.write("redrush: port 80 is taken by somebody else\n")
        return 1
    else:
        uvloop.run(serve(Path(arguments[1]), data, int(options["--port"]), fault))
    return 0


def seal(document: dict[str, Any], data: Path) -> None:
    rounds, amounts = [], array("q")
    for entry in document["round"]:
        opens_us, total_minor = round(entry["opens"].timestamp() * 1e6), round(float(entry["total"]) * 100)
        base, rest = divmod(total_minor, entry["packets"])
        slots = [len(amounts), entry["packets"]]
        amounts.extend([base + (slot < rest) for slot in range(entry["packets"])])
        rounds.append(
            {
                "id": entry["id"], "opens_us": opens_us, "closes_us": opens_us + int(entry["lasts"][:-1]) * 1_000_000,
                "kind": entry["kind"], "total_minor": total_minor, "min_minor": 50, "max_minor": total_minor,
                "slots": slots, "leftover": "return",
            }
        )  # fmt: skip
    campaign = document["campaign"] | {"rounds": rounds}
    (data / "amounts.i64").write_bytes(amounts.tobytes())
    sealed = {"version": 1, "campaign": campaign, "seed": "", "amounts_sha256": hashlib.sha256(amounts).hexdigest()}
    (data / "campaign.json").write_bytes(msgspec.json.encode(sealed))


class SealedRound(ServerRound):
    """A round whose slots are numbered through the campaign and carry the sealed amounts."""

    def __init__(self, entry: dict[str, Any], amounts: Sequence[int], campaign: str) -> None:
        super().__init__(entry["id"], entry["slots"][1], entry["opens_us"] / 1e6, entry["closes_us"] / 1e6)
        self.first, self.amounts, self.campaign = entry["slots"][0], amounts, campaign

    def granted(self, user: str, *, repeat: bool) -> dict[str, object]:
        slot = self.first + self.slots[user]
        grant = {
            "id": f"{self.campaign}-{self.name}-{slot}", "round": self.name, "slot": slot,
            "amount": f"{self.amounts[slot] / 100:.2f}", "currency": "CNY", "granted_at": instant(self.opens_s + 0.01),
            "receipt": f"receipt-{slot}",
        }  # fmt: skip
        return {"outcome": "granted", "grant": grant, "repeat": repeat}

    def rows(self) -> list[dict[str, object]]:
        rows = []
        for user in self.slots:
            grant = self.granted(user, repeat=True)["grant"]
            assert isinstance(grant, dict)
            row = {name: grant[name] for name in ("round", "slot", "amount", "granted_at")}
            rows.append(row | {"grant": grant["id"], "user": user})
        return rows


async def serve(file: Path, data: Path, port: int, fault: str) -> None:
    seal(tomllib.loads(file.read_text()), data)
    campaign = msgspec.json.decode((data / "campaign.json").read_bytes())["campaign"]
    amounts = array("q", (data / "amounts.i64").read_bytes())
    rounds = [SealedRound(entry, amounts, campaign["id"]) for entry in campaign["rounds"]]
    server, loop, stopping = RushServer(*rounds), asyncio.get_running_loop(), asyncio.Event()
    await loop.create_server(lambda: ServerConnection(server), "127.0.0.1", port)
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    if fault == "dies_later":
        loop.call_at(loop.time() + 1.5, sys.exit, "redrush: the disk is full")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stopping.wait()
    rows = [row for round_ in rounds for row in round_.rows()]
    (data / "grants.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
