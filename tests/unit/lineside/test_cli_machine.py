"""What the doctor reads of a machine, on trees of files as machines have them."""

import ctypes
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from lineside import secrecy
from lineside.checks import Check, Mark, container
from lineside.cli.machine import certificates, clock, disk, host, ports
from lineside.settings import BusSettings, BusTlsSettings, HttpSettings, Settings
from lineside.spool.settings import SpoolSettings

GIB, MIB = 1024**3, 1024**2
ANY = "0.0.0.0"  # noqa: S104 - as the kernel and settings say it, not bound
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOST_ROOT = "25 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
LAYERS = "612 501 0:52 / / ro,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b\n"
SUBFOLDER = "612 501 254:0 /var/lib/docker/vfs/dir/3f / ro,relatime - ext4 /dev/vda rw\n"

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return what makes a root folder of files by their paths."""

    def make(files: dict[str, str]) -> Path:
        for name, text in {"proc/self/mountinfo": HOST_ROOT, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, None),
        ({".dockerenv": ""}, None),  # a machine whose disk was made of an image
        ({".dockerenv": "", "proc/self/mountinfo": LAYERS}, "docker"),
        ({".dockerenv": "", "proc/self/mountinfo": SUBFOLDER}, "docker"),
        ({"run/.containerenv": "", "proc/self/mountinfo": LAYERS}, "podman"),
        ({"proc/self/mountinfo": LAYERS}, None),  # a live system
    ],
)
def test_a_container_is_told_from_a_machine(tree: Tree, files: dict[str, str], kind: str | None) -> None:
    assert container(tree(files)) == kind


def test_the_machine_is_named(tree: Tree) -> None:
    found = host.machine(
        tree({"etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n', ".dockerenv": ""})
    )
    assert found.what.startswith("Ubuntu 22.04.5 LTS, ")
    assert "container" not in found.what


MEMINFO = "MemTotal:       8049020 kB\nMemFree:  100 kB\nMemAvailable:   {} kB\nHugePages_Total:       0\n"


@pytest.mark.parametrize(
    ("files", "mark", "says"),
    [
        ({}, Mark.OK, "2.0 GiB of 7.7 GiB available"),
        ({"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1\n"}, Mark.OK, "of 7.7 GiB"),
        (
            {"sys/fs/cgroup/memory.max": f"{GIB}\n", "sys/fs/cgroup/memory.current": f"{GIB // 2}\n"},
            Mark.OK,
            "512.0 MiB of this container's limit of 1.0 GiB",
        ),
        (
            {"sys/fs/cgroup/memory.max": f"{GIB}\n", "sys/fs/cgroup/memory.current": f"{GIB - 100 * MIB}\n"},
            Mark.WARN,
            "100.0 MiB of",
        ),
        (
            {
                "sys/fs/cgroup/memory.max": f"{GIB}\n",
                "sys/fs/cgroup/memory.current": f"{GIB - 100 * MIB}\n",
                "sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {400 * MIB}\n",
            },
            Mark.OK,
            "500.0 MiB of",
        ),
        (
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB // 2}\n",
                "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\n",
            },
            Mark.OK,
            "512.0 MiB of this container's",
        ),
        (
            {  # control groups 1 without a limit: a number above all memory
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
                "sys/fs/cgroup/memory/memory.stat": "",
            },
            Mark.OK,
            "of 7.7 GiB",
        ),
    ],
)
def test_memory_is_the_machines_or_the_containers(tree: Tree, files: dict[str, str], mark: Mark, says: str) -> None:
    root = tree({"proc/meminfo": MEMINFO.format(2 * MIB), "sys/fs/cgroup/memory.stat": "inactive_file 0\n"} | files)
    found = host.memory(root)
    assert found.mark is mark, found
    assert says in found.what


def test_too_little_memory_is_warned_of(tree: Tree) -> None:
    assert host.memory(tree({"proc/meminfo": MEMINFO.format(200 * 1024)})).mark is Mark.WARN


def test_memory_that_cannot_be_read_is_an_error_with_the_file(tree: Tree) -> None:
    with pytest.raises(ValueError, match="proc/meminfo has no MemTotal"):
        host.memory(tree({"proc/meminfo": "nothing\n"}))


def kernel(state: int, status: int, maxerror: int = 4_000) -> tuple[int, clock.Timex]:
    return state, clock.Timex(status=status, maxerror=maxerror)


@pytest.mark.parametrize(
    ("said", "mark", "says"),
    [
        (kernel(0, 0x2001), Mark.OK, "synchronised to within 4 ms"),
        (kernel(5, 0x40), Mark.WARN, "no time server"),
        (kernel(0, 0x40), Mark.WARN, "no time server"),
        (kernel(5, 0x2001), Mark.WARN, "no time server"),
        (kernel(-1, 0), Mark.SKIP, "does not say"),
    ],
)
def test_the_kernels_word_on_the_clock(said: tuple[int, clock.Timex], mark: Mark, says: str) -> None:
    found = clock.judge(*said, NOW, NOW - timedelta(days=30))
    assert found.mark is mark
    assert says in found.what


def test_a_clock_before_the_installation_is_wrong_whatever_the_kernel_says() -> None:
    found = clock.judge(*kernel(0, 0), datetime(1970, 1, 1, tzinfo=UTC), NOW)
    assert found.mark is Mark.FAIL
    assert "before this installation" in found.what
    assert clock.judge(*kernel(0, 0), NOW, NOW + timedelta(hours=14)).mark is Mark.OK  # files of another time zone


def test_the_real_kernel_is_asked_without_setting_anything() -> None:
    state, answer = clock.read()
    assert ctypes.sizeof(clock.Timex) >= 208  # struct timex of Linux on 64 bits
    assert state in range(6)
    assert answer.modes == 0
    assert (state == 5) >= bool(answer.status & 0x40)


DISK = disk.Disk(
    "/data", "ext4", total=100 * GIB, free=50 * GIB, inodes=1_000_000, free_inodes=900_000, is_read_only=False
)
SPOOL = SpoolSettings(folder=Path("/data/spool"), max_bytes=4 * GIB)


@pytest.mark.parametrize(
    ("given", "mark", "says"),
    [
        (DISK, Mark.OK, "50.0 GiB of 100.0 GiB free"),
        (replace(DISK, is_read_only=True), Mark.FAIL, "read-only"),
        (replace(DISK, free=MIB), Mark.FAIL, "spool.reserve_bytes, 64.0 MiB"),
        (replace(DISK, free_inodes=99), Mark.WARN, "99 more files"),
        (replace(DISK, inodes=0, free_inodes=0), Mark.OK, ""),  # btrfs counts none
        (replace(DISK, kind="nfs4"), Mark.WARN, "on a network"),
        (replace(DISK, kind="tmpfs"), Mark.WARN, "memory"),
        (replace(DISK, kind="overlay"), Mark.WARN, "a container's own layer"),
        (replace(DISK, total=4 * GIB, free=3 * GIB), Mark.WARN, "spool.max_bytes and reserve_bytes are 4.1 GiB"),
    ],
)
def test_the_disk_is_judged_against_the_spool(given: disk.Disk, mark: Mark, says: str) -> None:
    found = disk.judge(given, SPOOL, Path("/data/spool"))
    assert found.mark is mark
    assert says in found.what
    assert bool(found.remedy) == (mark is not Mark.OK)


MOUNTS = """\
25 1 254:0 / / rw,relatime - ext4 /dev/vda rw
26 25 0:23 / /data rw - nfs4 server:/share rw
27 25 254:16 / /data rw - xfs /dev/vdb rw
28 27 254:32 / /data/my\\040spool rw - btrfs /dev/vdc rw
29 25 254:48 / /dat rw - ext3 /dev/vdd rw
broken line
"""


@pytest.mark.parametrize(
    ("folder", "mount", "kind"),
    [
        ("/srv/spool", "/", "ext4"),
        ("/data/spool", "/data", "xfs"),  # what was mounted last covers the other
        ("/data/my spool/x", "/data/my spool", "btrfs"),
        ("/database", "/", "ext4"),
    ],
)
def test_the_mount_of_a_folder(folder: str, mount: str, kind: str) -> None:
    assert disk.mount_of(Path(folder), MOUNTS) == (mount, kind)


class Spooling(Settings):
    """Settings of a service with a spool."""

    spool: SpoolSettings


def test_the_nearest_folder_that_is_there_is_looked_at(tree: Tree, tmp_path: Path) -> None:
    spool = SpoolSettings(folder=tmp_path / "not" / "yet", max_bytes=MIB, reserve_bytes=256 * 1024)
    found = disk.look([Spooling(spool=spool)], tree({}))
    assert found.what.startswith(f"{tmp_path}/not/yet on /")
    assert disk.look([Settings()], tree({})).mark is Mark.SKIP


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TAIL = "00000000:00000000 00:00000000 00000000  1000        0 {} 1 0000000000000000 100 0 0 10 0\n"


def listens(address: str, port: int, inode: int, state: str = "0A") -> str:
    nobody = "0" * len(address) + ":0000"
    return f"   0: {address}:{port:04X} {nobody} {state} {TAIL.format(inode)}"


def test_listeners_are_read_by_address_port_and_inode(tree: Tree) -> None:
    tcp = HEAD + listens("0100007F", 8080, 11) + listens("0100007F", 40000, 12, "01") + listens("00000000", 22, 13)
    tcp6 = HEAD + listens("00000000000000000000000001000000", 8081, 14)
    tcp6 += listens("0000000000000000FFFF00000100007F", 8082, 15)
    found = list(ports.listeners(tree({"proc/net/tcp": tcp, "proc/net/tcp6": tcp6})))
    assert [(str(each.address), each.port, each.inode) for each in found] == [
        ("127.0.0.1", 8080, "11"),
        (ANY, 22, "13"),
        ("::1", 8081, "14"),
        ("127.0.0.1", 8082, "15"),
    ]


@pytest.mark.parametrize(
    ("there", "ours", "blocks"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        (ANY, "127.0.0.1", True),
        ("127.0.0.1", ANY, True),
        ("192.0.2.7", "127.0.0.1", False),
        ("::", "127.0.0.1", True),
        ("::1", "127.0.0.1", False),
        ("::1", ANY, False),
        ("127.0.0.1", "::", True),
        ("192.0.2.7", "box.plant.example", True),
    ],
)
def test_which_listener_is_in_the_way(there: str, ours: str, blocks: bool) -> None:
    listener = ports.Listener(ports.ipaddress.ip_address(there), 8080, "1")
    assert ports.in_the_way(listener, HttpSettings(host=ours, port=8080)) is blocks
    assert not ports.in_the_way(listener, HttpSettings(host=ours, port=8081))


def test_the_program_behind_a_socket_is_named(tree: Tree) -> None:
    root = tree({"proc/77/comm": "nginx\n", "proc/78/comm": "sshd\n"})
    for process, inode in (("77", 501), ("78", 502)):
        (root / "proc" / process / "fd").mkdir()
        (root / "proc" / process / "fd" / "6").symlink_to(f"socket:[{inode}]")
    assert ports.owner("501", root) == "nginx (pid 77)"
    assert "another program" in ports.owner("999", root)


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


def written(ca: trustme.CA, folder: Path, *, ends: datetime) -> Path:
    path = folder / "client.pem"
    ca.issue_cert("press-7", not_after=ends, not_before=datetime(2020, 1, 1, tzinfo=UTC)).cert_chain_pems[
        0
    ].write_to_path(path)
    return path


@pytest.mark.parametrize("year", [2026, 2049, 2050, 2099])
def test_the_end_of_a_certificate_is_read_in_both_forms(ca: trustme.CA, tmp_path: Path, year: int) -> None:
    end = datetime(year, 12, 24, 18, 30, 1, tzinfo=UTC)
    assert certificates.ends(written(ca, tmp_path, ends=end), last=False) == end


def test_of_what_is_trusted_the_last_end_counts(ca: trustme.CA, tmp_path: Path) -> None:
    first, last = datetime(2025, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    bundle = tmp_path / "bundle.pem"
    text = written(ca, tmp_path, ends=first).read_text() + written(ca, tmp_path, ends=last).read_text()
    bundle.write_text(text)
    assert certificates.ends(bundle, last=True) == last
    assert certificates.ends(bundle, last=False) == first


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        ("", "no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate"),
    ],
)
def test_a_file_that_is_no_certificate_says_so(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    assert says in str(certificates.ends(path, last=True))


def judged(**ends: datetime | str) -> Check:
    return certificates.judge(dict(ends), NOW)


def test_certificates_are_judged_by_the_days_left() -> None:
    year = NOW + timedelta(days=365, hours=1)
    assert judged().mark is Mark.SKIP
    assert judged(ca=year).what == "ca: 365 days left"
    assert judged(ca=year, own=NOW + timedelta(days=29)).mark is Mark.WARN
    assert judged(ca=year, own=NOW - timedelta(days=1)).mark is Mark.FAIL
    assert judged(ca=year, own="cannot be read: Permission denied").mark is Mark.FAIL


def test_every_setting_that_names_certificates_is_found() -> None:
    tls = BusTlsSettings(ca_file=Path("/ca.pem"), cert_file=Path("/own.pem"), key_file=Path("/own.key"))
    settings = Settings(bus=BusSettings(tls=tls))
    assert dict(secrecy.files(settings, certificates.FILES)) == {
        "bus.tls.ca_file": Path("/ca.pem"),
        "bus.tls.cert_file": Path("/own.pem"),
    }
