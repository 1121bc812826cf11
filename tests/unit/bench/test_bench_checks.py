import os

from lineside_bench.runner.checks import _orphaned


def test_only_the_shared_memory_of_dead_benches_is_orphaned() -> None:
    assert _orphaned(f"lineside_bench_{os.getpid()}_0a1b2c_region") is None
    assert _orphaned("lineside_bench_99999999_0a1b2c_region") == "lineside_bench_99999999_0a1b2c_"
    assert _orphaned("somebody-elses") is None
