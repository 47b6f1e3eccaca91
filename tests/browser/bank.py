"""A sale whose money a bank of the sandbox takes, and what its buyers see of it."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from redrush.processes.loopback import free_port
from tests.browser.event import OPENS_IN_S, OPENS_S, QUICK, wait_until
from tests.browser.kinds import sale
from tests.browser.visitor import Visitor

SALE = sale(secret=False, hold="3m", return_every="1s", shop="bank", opens_s=OPENS_S - OPENS_IN_S - 60)
NAMED = f'{QUICK}[page.names]\ns = "红色手机"\n'


class Bank:
    """`redrush sandbox`: a bank, its customers and a shop. A context manager, ended with it."""

    def __init__(self, directory: Path, plays: str | None = None) -> None:
        """Writes `payments`, the file that names it, to the directory, or, where it plays another provider, to the
        directory `merchant` in it, beside the keys."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        words = [sys.executable, "-m", "redrush", "sandbox", "--port", str(port)]
        self.merchant = directory / "merchant"
        if plays is not None:
            notices = f"http://127.0.0.1:{free_port({port})}/notices/{plays}"
            words += ["--as", plays, "--merchant", str(self.merchant), "--notify", notices]
            self.payments = self.merchant / "payments.toml"
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        if plays is None:
            self.payments = directory / "payments.toml"
            self.payments.write_text(f'[[provider]]\nname = "bank"\nkind = "sandbox"\nurl = "{self.url}"\n')

    def ask(self, method: str, path: str) -> Any:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, method=method), timeout=10) as answer:
            return json.load(answer)

    def pays(self, code: str) -> str:
        """Let somebody with a wallet pay what the code says; return what became of it."""
        return json.dumps(self.ask("POST", f"/wallet/pay/{code.rpartition('/')[2]}"))

    def __enter__(self) -> "Bank":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)


def code_of(visitor: Visitor, at: str = "#small") -> str:
    """Return the payment code that the page shows."""
    wait_until(lambda: "付款码" in visitor.page.inner_text(at), "the page says how to pay")
    return visitor.page.inner_text(at).partition("：")[2].strip()
