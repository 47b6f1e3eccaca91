"""When a service is itself again, told by the people who come: how long after the end of what was broken or too much
they are served as usual, and stay so. Pure numpy.

"From then on always" would be judged by the last hiccup of a disk, seconds after what the question is about. So it has
to stay so for a time that no relapse waits for: clients come back within seconds.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from redrush.drill.observations import Ending, Observations
from redrush.drill.schedules import Seconds

BUCKET_S: Final = 0.1
NORMAL_SHARE: Final = 0.95
"""Of the people of a tenth of a second, how many are served as usual when all is well."""
STAYS_S: Final = 3.0
"""For how long it has to stay so."""
STAYS_SHARE: Final = 0.95
"""Of all tenths of a second from then on to the end, how many have to be so: a hiccup may come, a relapse may not."""


def delays_s(observed: Observations, planned_s: Seconds, first_user: int) -> Seconds:
    """Return, per person, from wanting a packet to having it; infinite for whoever never heard of one.

    Person k wanted one at `planned_s`[k] and is user `first_user` + k.
    """
    heard = observed.where(observed.ending == Ending.GRANTED)
    first_s = np.full(len(planned_s), np.inf)
    np.minimum.at(first_s, heard.user - first_user, heard.ended_s)
    delays: Seconds = first_s - planned_s
    return delays


def recovered_after_s(planned_s: Seconds, delays: Seconds, end_s: float, usual_delay_s: float) -> float:
    """Return how long after `end_s` people who came then were served as usual, and it stayed so (see the module).

    It is a whole number of buckets, and the time to the last person's bucket if they never were.
    """
    usual = delays <= usual_delay_s
    bucket: NDArray[np.int64] = np.floor((planned_s - end_s) / BUCKET_S).astype(np.int64)
    later = bucket >= 0
    came = np.bincount(bucket[later])
    served = np.bincount(bucket[later & usual], minlength=len(came))
    unusual = served < NORMAL_SHARE * came
    stays = round(STAYS_S / BUCKET_S)
    for first in range(len(unusual)):
        rest = unusual[first:]
        if not rest[:stays].any() and rest.mean() <= 1 - STAYS_SHARE:
            return round(first * BUCKET_S, 3)
    return round(len(unusual) * BUCKET_S, 3)
