"""A mail server on loopback that keeps what it is handed, and misbehaves when asked: for tests of mail to winners."""

import asyncio
import contextlib
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Final, Literal

Fault = Literal["refuses", "not_now", "cut_before_the_dot", "cut_after_the_dot", "hangs_after_the_dot", "no_sender"]

FAULTS: Final[tuple[Fault, ...]] = ("refuses", "not_now", "cut_before_the_dot", "cut_after_the_dot", "no_sender")


class Mailbox:
    """`start`, then `stop`. `faults` are played one after the other, a mail each; None: it goes well."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.faults: list[Fault | None] = []
        self.connections = 0
        self.came = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        self._server.close()
        while self._writers:
            for writer in tuple(self._writers):
                writer.close()
            await asyncio.sleep(0)

    def receivers(self) -> list[str]:
        """Return who was told, in order."""
        return [str(mail["To"]) for mail in self.mails]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _talk(  # noqa: C901 - the commands of the protocol, one after the other
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        say("220 mail.test ready")
        fault: Fault | None = None
        while line := (await reader.readuntil(b"\r\n")).decode().strip():
            command = line.partition(" ")[0].upper()
            match command:
                case "MAIL":
                    fault = self.faults.pop(0) if self.faults else None
                    say("550 5.7.1 nobody knows you" if fault == "no_sender" else "250 OK")
                case "RCPT" if fault == "refuses":
                    say("550 5.1.1 no such user")
                case "DATA" if fault == "not_now":
                    say("451 4.3.2 come back later")
                case "DATA":
                    say("354 go on")
                    if fault == "cut_before_the_dot":
                        return
                    raw = await reader.readuntil(b"\r\n.\r\n")
                    self.mails.append(message_from_bytes(raw[:-3], policy=default))
                    self.came.set()
                    if fault == "cut_after_the_dot":
                        return
                    if fault == "hangs_after_the_dot":
                        await reader.read()
                        return
                    say("250 2.0.0 queued")
                case "QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 OK")
