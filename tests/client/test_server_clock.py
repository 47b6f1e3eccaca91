"""The server's time as a client learns it from answers that are up to a second old."""

import random

from redrush.client.clock import ServerClock


def test_it_is_never_early_by_more_than_half_a_round_trip_and_late_by_the_age_of_the_freshest_answer() -> None:
    offset_s = 1_800_000_000.25
    for seed in range(200):
        source = random.Random(seed)
        clock = ServerClock()
        trips, ages, now_s = [], [], 100.0
        for _ in range(4):
            there_s, back_s, age_s = source.uniform(0.001, 0.2), source.uniform(0.001, 0.2), source.random()
            trips.append(there_s + back_s)
            ages.append(age_s + back_s)
            clock.observe(now_s, now_s + there_s + back_s, now_s + there_s + offset_s - age_s)
            now_s += source.random()
        opens_s = now_s + 10 + offset_s
        error_s = clock.until_s(opens_s, now_s) - 10
        assert -min(trips) / 2 <= error_s <= min(ages), f"seed {seed}"
