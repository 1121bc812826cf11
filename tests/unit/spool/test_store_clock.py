from lineside.spool.store.clock import Clock

HOUR = 3_600_000


class Box:
    """A box's two clocks, in milliseconds."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000_000
        self.boot = 5_000
        self.clock = Clock(lambda: self.wall, lambda: self.boot)

    def passes(self, ms: int) -> None:
        self.wall += ms
        self.boot += ms


def test_a_clock_that_goes_evenly_is_trusted_after_an_hour():
    box = Box()
    box.passes(HOUR - 1)
    assert not box.clock.is_trusted()
    box.passes(1)
    assert box.clock.is_trusted()


def test_a_jump_ahead_or_back_ends_the_trust_for_good():
    for jump in (365 * 24 * HOUR, -HOUR, 60_001):
        box = Box()
        box.passes(HOUR)
        assert box.clock.is_trusted()
        box.wall += jump
        assert not box.clock.is_trusted()
        box.wall -= jump
        box.passes(10 * HOUR)
        assert not box.clock.is_trusted()


def test_a_clock_that_is_corrected_slowly_stays_trusted():
    box = Box()
    for _ in range(100):
        box.passes(60_000)
        box.wall += 500
        trusted = box.clock.is_trusted()
    assert trusted
    assert not box.clock.jumped


def test_the_live_clocks_go():
    clock = Clock()
    assert not clock.is_trusted()
    assert not clock.jumped
