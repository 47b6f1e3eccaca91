"""Take part in a round: wait for its opening by the server's clock, ask, and come again as the campaign's policy says.

    python examples/grab.py http://127.0.0.1:8080 r20 "$TICKET"

Needs redrush with its client: pip install '.[client]'. Ends with 0 if there was a packet, 1 if not.
"""

import argparse
import asyncio
import sys

try:
    from redrush import Participant, Result, Shown
except ImportError as missing:
    sys.exit(f"grab.py: {missing}")


async def grab(gates: list[str], round_id: str, ticket: str, language: str) -> Result:
    """Ask once, as one person; the gates are those of one event, the nearest first."""

    def show(shown: Shown) -> None:
        if shown.text:
            print(shown.text, flush=True)
        elif shown.next_in_s:
            print(f"{shown.showing}: asking in {shown.next_in_s:.1f} s", flush=True)

    async with Participant(gates, ticket, language=language, show=show) as participant:
        return await participant.grab(round_id)


def main() -> int:
    """Read the arguments, ask, and tell how it went."""
    parser = argparse.ArgumentParser(description="Take part in a round.")
    parser.add_argument("gate", help="base URL of a gate; several, divided by commas")
    parser.add_argument("round", help="id of the round")
    parser.add_argument("ticket", help="from `redrush ticket`, or from your own login service")
    parser.add_argument("--language", default="en", help="of what is shown: en (default), zh, or one of the campaign's")
    chosen = parser.parse_args()
    result = asyncio.run(grab(chosen.gate.split(","), chosen.round, chosen.ticket, chosen.language))
    if result.grant is not None:
        print(f"granted: {result.grant.amount} {result.grant.currency}")
        print(f"receipt: {result.grant.receipt}")
        return 0
    print(result.outcome or f"no packet: {result.showing}, status {result.status}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
