from lineside_inference.usecases.quiet import Quiet


def test_the_line_is_quiet_after_so_long_without_a_request() -> None:
    quiet = Quiet(10)
    assert not quiet.is_now(0, total=0, running=0), "what was before the first look is not known"
    assert not quiet.is_now(9.9, total=0, running=0)
    assert quiet.is_now(10, total=0, running=0)
    assert not quiet.is_now(11, total=1, running=0), "one came and went between two looks"
    assert not quiet.is_now(20.9, total=1, running=0)
    assert quiet.is_now(21, total=1, running=0)


def test_one_that_runs_for_long_is_no_quiet() -> None:
    quiet = Quiet(10)
    for now in range(0, 100, 5):
        assert not quiet.is_now(now, total=1, running=1)
    assert not quiet.is_now(104, total=1, running=0)
    assert quiet.is_now(105, total=1, running=0)


def test_without_a_wait_it_is_quiet_between_two_requests() -> None:
    quiet = Quiet(0)
    assert quiet.is_now(0, total=0, running=0)
    assert not quiet.is_now(1, total=1, running=1)
    assert quiet.is_now(2, total=1, running=0)
