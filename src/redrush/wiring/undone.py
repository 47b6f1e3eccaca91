"""Whether a campaign that sleeps has something left to do by itself since an earlier process.

Read from its files without opening it, for a server may have many: orders and packets between people, log records that
are not in the records, rounds that are over and not closed, wins that are to be paid or told of by themselves. Nobody
may have the campaign open in this process meanwhile, and it blocks for some milliseconds.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from redrush.control.data_dir import DataDir
from redrush.control.event import as_served, load_open_terms
from redrush.control.sealing import load_campaign
from redrush.core.rush.campaign import Campaign, Pot
from redrush.errors import RedrushError
from redrush.settle.closing import leftover_waits
from redrush.wiring.till import Till

BUSY_WAIT_MS: Final = 1_000
"""Longest wait for a lock that another process holds, such as a backup; then nobody knows."""


def was_served(data_dir: DataDir) -> bool:
    """Whether the campaign of the directory was ever open: one that was not has nothing to do."""
    return data_dir.journal.exists() or _has_books(data_dir)


def left_undone(data_dir: DataDir, till: Till, now_us: Callable[[], int]) -> bool:
    """Whether the campaign of the directory may have something to do. True where nobody knows: it is opened then, which
    says why it cannot be read."""
    if _has_books(data_dir):
        return True  # whoever has it open knows whether any of it is under way
    try:
        recorded, logged = _number(data_dir.records, "SELECT seq FROM cursor"), _number(data_dir.journal, _LAST_SEQ)
        if recorded < logged:
            return True
        terms = load_open_terms(data_dir)
        campaign = as_served(load_campaign(data_dir), terms)
        over = (pot for pot in campaign.pots if pot.closes_us <= now_us())
        if any(_has_leftover(data_dir, campaign, pot) for pot in over):
            return True
        return till.is_behind(campaign, terms, recorded)
    except (RedrushError, apsw.Error, OSError):
        return True


def _has_leftover(data_dir: DataDir, campaign: Campaign, pot: Pot) -> bool:
    return leftover_waits(
        pot,
        balance_minor=lambda account: _number(data_dir.records, _BALANCE, campaign.id, account),
        granted=lambda pot_id: _number(data_dir.records, _GRANTED, campaign.id, pot_id),
        taken=lambda transfer: _number(data_dir.journal, _TAKEN, transfer),
    )


_LAST_SEQ: Final = "SELECT coalesce(max(seq), 0) FROM log"
_BALANCE: Final = """
SELECT coalesce(sum(credits_minor - debits_minor), 0)
  FROM accounts JOIN campaigns USING (campaign) WHERE id = ? AND account = ?"""
_GRANTED: Final = """
SELECT count(*) FROM grants JOIN pots USING (pot) JOIN campaigns USING (campaign) WHERE id = ? AND name = ?"""
_TAKEN: Final = "SELECT count(*) FROM log WHERE kind = 'taken' AND transfer = ?"


def _has_books(data_dir: DataDir) -> bool:
    return data_dir.packets.exists() or data_dir.sales.exists()


def _number(path: Path, question: str, *about: str) -> int:
    connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(BUSY_WAIT_MS)
        return int(next(iter(connection.execute(question, about)))[0])
    finally:
        connection.close()
