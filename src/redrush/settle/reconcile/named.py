"""Grants that a record about many names one by one, of whatever pots."""

import json
from typing import Any

import msgspec


class Named(msgspec.Struct, frozen=True):
    """A grant as a record about many names it."""

    pot: str
    slot: int
    user: str
    request: str
    number: int


class Held(msgspec.Struct):
    """Who has a hold."""

    user: str
    request: str
    confirmed: bool


def named_in(columns: tuple[Any, ...]) -> list[Named]:
    """Read `users` and `slots` of a record about single grants: the latter has pots, slots and, maybe, requests,
    numbers and deadlines, each as a column. Raises ValueError or TypeError for what is none."""
    _, count, at_us, users, by_column, _ = columns
    names, (pots, slots, *more) = json.loads(users), json.loads(by_column)
    requests, numbers, _until_us = more or ([""] * count, [0] * count, [])
    named = [Named(*of_grant) for of_grant in zip(pots, slots, names, requests, numbers, strict=True)]
    if len(named) != count or not isinstance(at_us, int) or not all(type(one.slot) is int for one in named):
        raise TypeError(f"{count} grants are announced, the lists say otherwise")
    return named
