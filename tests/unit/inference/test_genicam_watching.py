"""What this machine tells of a stream's way, how even a stream is, and what `lineside camera watch` says of both."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lineside_inference.camera_command import app, watch_command
from lineside_inference.sources.cameras.genicam.advice import Channel, Seen, Way
from lineside_inference.sources.cameras.genicam.watching import intervals
from lineside_inference.sources.cameras.genicam.way import Files, dropped, inodes, look, since

CHANNEL = Channel("192.0.2.1", 0xC350, 1500, 0, 1_000_000_000, 1000)
UDP = """  sl local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt   uid timeout inode ref pointer drops
  1: 010200C0:C350 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41 2 0000000000000000 12
  2: 010200C0:C351 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 42 2 0000000000000000 99
  3: cut off
"""
PACKET = "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n0000 3 2 0800   2 1 0 0 77\n"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    statistics = tmp_path / "net" / "eth0" / "statistics"
    for folder in (statistics, tmp_path / "sys/net/core", tmp_path / "self/fd"):
        folder.mkdir(parents=True)
    for file, text in (
        (statistics / "rx_missed_errors", "3\n"),
        (statistics / "rx_fifo_errors", "4\n"),
        (statistics / "rx_crc_errors", "5\n"),
        (statistics.parent / "mtu", "9000\n"),
        (statistics.parent / "speed", "1000\n"),
        (tmp_path / "sys/net/core/rmem_max", "212992\n"),
        (tmp_path / "net/udp", UDP),
        (tmp_path / "net/packet", PACKET),
    ):
        file.write_text(text)
    return Files(proc=tmp_path, net=tmp_path / "net")


def test_the_way_is_read_from_linux(files: Files) -> None:
    assert look(CHANNEL, "eth0", files) == Way(
        "eth0", 9000, 1_000_000_000, 212_992, socket_drops=12, card_drops=7, card_errors=5
    )


def test_where_a_packet_socket_reads_the_drops_of_the_other_socket_mean_nothing(files: Files) -> None:
    (files.proc / "self/fd/5").symlink_to("socket:[77]")
    (files.proc / "self/fd/0").symlink_to("/dev/null")
    way = look(CHANNEL, "eth0", files)
    assert way.by_packet_socket
    assert way.socket_drops == 0
    (files.proc / "net/packet").write_text(PACKET.replace("77", "78"))
    assert not look(CHANNEL, "eth0", files).by_packet_socket, "it is another program's"


def test_what_linux_does_not_tell_is_not_known(files: Files, tmp_path: Path) -> None:
    assert look(CHANNEL, None, Files(tmp_path / "none", tmp_path / "none")) == Way()
    (files.net / "eth0/speed").write_text("-1\n")
    assert look(None, "eth0", files).bits_a_second is None
    (files.net / "eth0/mtu").write_text("\n")
    assert look(None, "eth0", files).mtu is None
    assert look(None, "eth0", files).socket_drops == 0


def test_drops_are_those_of_the_port_and_inodes_those_of_packet_sockets() -> None:
    assert (dropped(UDP, 0xC350), dropped(UDP, 0xC351), dropped(UDP, 0xC352), dropped("", 1)) == (12, 99, 0, 0)
    assert inodes(PACKET) == {"77"}
    assert inodes("") == set()


def test_between_two_looks_only_what_was_added_counts() -> None:
    before = Way("eth0", socket_drops=5, card_drops=5, card_errors=5)
    assert since(before, Way("eth0", socket_drops=6, card_drops=5, card_errors=2)) == Way("eth0", socket_drops=1)


def test_intervals_are_in_milliseconds_and_unknown_without_two_frames() -> None:
    assert intervals([]) == intervals([1.0]) == (None, None, None)
    clocks = [each / 100 for each in range(100)] + [2.0]
    p50, p99, longest = intervals(clocks)
    assert (p50, p99, longest) == (pytest.approx(10), pytest.approx(1010), pytest.approx(1010))
    assert intervals([0.0, 0.5]) == (500, 500, 500)


@pytest.mark.parametrize(
    ("incomplete", "status", "said"), [(0, 0, "nothing to do"), (2, 1, "to do: 2 frames were not")]
)
def test_the_status_says_whether_there_is_something_to_do(
    monkeypatch: pytest.MonkeyPatch, incomplete: int, status: int, said: str
) -> None:
    seen = Seen(1.0, 10, incomplete=incomplete, p50_ms=100.0, p99_ms=100.0, longest_ms=100.0, channel=CHANNEL)
    monkeypatch.setattr(watch_command, "_watched", lambda *_: (seen, Way("eth0", 1500, None, 212_992)))
    done = CliRunner().invoke(app, ["watch", "192.0.2.20", "--seconds", "1"])
    assert done.exit_code == status
    assert said in done.stdout
    told: dict[str, Any] = json.loads(CliRunner().invoke(app, ["watch", "192.0.2.20", "--json"]).stdout)
    assert told["seen"]["frames_a_second"] == 10
    assert any(each["is_due"] for each in told["advice"]) == bool(status)


def test_a_watch_of_no_time_is_refused() -> None:
    assert CliRunner().invoke(app, ["watch", "192.0.2.20", "--seconds", "0"]).exit_code == 2
