"""The sandbox's shop: it takes orders by webhook, each once, and keeps a book of them that a test can look at.

    POST /shop/orders     as `redrush.providers.webhook` sends them: 201, 409 for one that it has, 422 for one that it
                          refuses, for good and each time again
    GET  /shop/orders     what it has

What goes wrong is drawn by the sandbox's faults: `shop_refuses`, `shop_down` (503 and nothing done),
`shop_answer_lost` (taken, and the connection is cut).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from redrush.http.small_server import Asked, Reply
from redrush.ports.provider import Forged, Stale
from redrush.providers import signing
from redrush.sandbox.faults import Faults

_CREATE: Final = """
CREATE TABLE IF NOT EXISTS orders (
    id    TEXT PRIMARY KEY,
    taken INTEGER NOT NULL,
    told  INTEGER NOT NULL DEFAULT 1,
    body  TEXT NOT NULL
) STRICT
"""


class _Order(msgspec.Struct):
    type: str
    timestamp: str
    data: dict[str, Any]


class Shop:
    """See the module."""

    def __init__(self, path: Path | None, secret: str, faults: Faults, now_us: Callable[[], int]) -> None:
        """`path` is its book; None: it is gone with the process."""
        self._book = apsw.Connection(":memory:" if path is None else os.fspath(path))
        self._book.execute(_CREATE)
        self._keys = signing.keys_of(secret)
        self._faults = faults
        self._now_us = now_us

    def close(self) -> None:
        """Close the book."""
        self._book.close()

    def handle(self, asked: Asked) -> Reply:
        """Answer a request below `/shop/orders`."""
        if asked.method == "GET":
            rows = self._book.execute("SELECT id, taken, told, body FROM orders ORDER BY rowid").fetchall()
            listed = [
                {"id": id_, "taken": bool(taken), "told": told, **msgspec.json.decode(str(body))}
                for id_, taken, told, body in rows
            ]
            return Reply(200, msgspec.json.encode({"orders": listed}))
        if asked.method != "POST":
            return Reply(404)
        if self._faults.happens("shop_down"):
            return Reply(503)
        doubt = signing.verify(self._keys, asked.headers, asked.body, self._now_us() // 1_000_000)
        if isinstance(doubt, Forged | Stale):
            return Reply(401, msgspec.json.encode({"detail": doubt.why}))
        order = msgspec.json.decode(asked.body, type=_Order)
        return self._take(asked.headers["webhook-id"], order)

    def _take(self, order_id: str, order: _Order) -> Reply:
        known = self._book.execute("SELECT taken FROM orders WHERE id = ?", (order_id,)).fetchone()
        if known is None:
            taken = not self._faults.happens("shop_refuses")
            body = msgspec.json.encode(order.data).decode()
            self._book.execute("INSERT INTO orders (id, taken, body) VALUES (?, ?, ?)", (order_id, taken, body))
        else:
            taken = bool(known[0])
            self._book.execute("UPDATE orders SET told = told + 1 WHERE id = ?", (order_id,))
        if self._faults.happens("shop_answer_lost"):
            return Reply(0)
        if not taken:
            return Reply(422, msgspec.json.encode({"detail": "no stock of that in this shop"}))
        return Reply(201 if known is None else 409)
