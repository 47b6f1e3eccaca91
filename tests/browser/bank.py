"""A sale whose money a bank of the sandbox takes, and what its buyers see of it."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from redrush.processes.loopback import free_port
from tests.browser.event import OPENS_IN_S, OPENS_S, QUICK, Event, instant, wait_until
from tests.browser.visitor import Visitor

SALE = f"""[[round]]
id = "s"
kind = "sale"
opens = {instant(OPENS_S - OPENS_IN_S - 60)}
lasts = "2h"
units = 1
price = "99.00"
hold = "3m"
return_every = "1s"
shop = "bank"
"""
NAMED = f'{QUICK}[page.names]\ns = "红色手机"\n'


class Bank:
    """`redrush sandbox`: a bank, its customers and a shop."""

    def __init__(self, event: Event, directory: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        words = [sys.executable, "-m", "redrush", "sandbox", "--port", str(port)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        event.payments = directory / "payments.toml"
        event.payments.write_text(f'[[provider]]\nname = "bank"\nkind = "sandbox"\nurl = "{self.url}"\n')

    def ask(self, method: str, path: str) -> Any:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, method=method), timeout=10) as answer:
            return json.load(answer)

    def pays(self, code: str) -> str:
        """Let somebody with a wallet pay what the code says; return what became of it."""
        return json.dumps(self.ask("POST", f"/wallet/pay/{code.rpartition('/')[2]}"))

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)


def code_of(visitor: Visitor, at: str = "#small") -> str:
    """Return the payment code that the page shows."""
    wait_until(lambda: "付款码" in visitor.page.inner_text(at), "the page says how to pay")
    return visitor.page.inner_text(at).partition("：")[2].strip()
