"""The speed of a run, and the time it waits for images, by a clock that the test sets."""

from __future__ import annotations

import pytest
from cytoimagenet.training.pace import Pace, duration


class Clock:
    """Shows the time that the test sets, in seconds."""

    now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


def test_evaluation_is_not_counted_and_waiting_is():
    clock = Clock()
    pace = Pace(clock)
    for _ in range(4):
        with pace.waiting():
            clock.work(0.5)
        clock.work(1.5)
    with pace.paused():
        clock.work(100)
    assert pace.lap(images=64) == {"images_per_second": 8.0, "waiting_share": 0.25}
    clock.work(2)
    assert pace.lap(images=64) == {"images_per_second": 32.0, "waiting_share": 0.0}, "each lap starts anew"


def test_time_before_the_start_is_not_counted():
    clock = Clock()
    pace = Pace(clock)
    clock.work(60)
    pace.begin()
    clock.work(4)
    assert pace.lap(images=8)["images_per_second"] == 2


def test_an_error_while_waiting_is_counted():
    clock = Clock()
    pace = Pace(clock)
    with pytest.raises(StopIteration), pace.waiting():
        clock.work(1)
        raise StopIteration
    clock.work(1)
    assert pace.lap(images=2)["waiting_share"] == 0.5


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5_399, "90 min"), (5_400, "1.5 h"), (129_600, "1.5 days")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words
