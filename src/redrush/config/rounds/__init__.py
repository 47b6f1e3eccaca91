"""`[[round]]` of a campaign file: one module for each kind of rush, with its own table.

`kind` says which table a round is read as, so a key of another kind is an unknown key. Another kind is another module,
and its table in `RoundTables`.
"""

from typing import Final, TypeAlias, get_args

from redrush.config.rounds.draw import DrawTable
from redrush.config.rounds.packets import PACKETS_MAX, DoubleMeanTable, EqualTable, LuckyTable
from redrush.config.rounds.round_table import LASTS_US_MAX, NOW, RoundSpec, RoundTable, check_year
from redrush.config.rounds.sale import SaleTable

RoundTables: TypeAlias = EqualTable | LuckyTable | DoubleMeanTable | DrawTable | SaleTable

KINDS: Final = tuple(str(table.__struct_config__.tag) for table in get_args(RoundTables))
"""What may stand for `kind`."""

__all__ = [
    "KINDS",
    "LASTS_US_MAX",
    "NOW",
    "PACKETS_MAX",
    "RoundSpec",
    "RoundTable",
    "RoundTables",
    "check_year",
]
