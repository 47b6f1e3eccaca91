"""How much of everything one machine is given: more of it only takes turns on the same processors."""

from typing import Final

SETS_MAX: Final = 50
REPLICAS_MAX: Final = 3
GATES_MAX: Final = 64
