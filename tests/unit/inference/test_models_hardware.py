"""The probe on device facts, and the choice among a card's files."""

import re

import pytest

from lineside.variants import VariantError, parse
from lineside_inference.models.card import CardFile
from lineside_inference.models.hardware import Facts, probe, read
from lineside_inference.models.variants import Hardware, choose, fit
from lineside_inference.settings import HardwareSettings
from tests.support.paths import FIXTURES

ORIN_NX = "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"


def facts(name: str) -> Facts:
    parts = re.split(r"^== (.+) ==\n", (FIXTURES / "hardware" / f"{name}.txt").read_text(), flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    return Facts(**{title.replace("-", "_"): text for title, text in texts.items()})


@pytest.mark.parametrize(
    ("name", "hardware"),
    [
        ("orin-nx", Hardware(ORIN_NX, "8.7", "10.3.0", "6.1")),
        ("agx-orin", Hardware("Jetson AGX Orin Developer Kit", "8.7", "8.5.2", "5.1.2")),
        ("x86-rtx", Hardware("NVIDIA GeForce RTX 4090", "8.9", None, None)),
        ("no-gpu", Hardware()),
    ],
)
def test_the_probe_reads_the_facts(name: str, hardware: Hardware) -> None:
    assert read(facts(name)) == hardware


def test_no_facts_are_no_hardware() -> None:
    assert read(Facts()) == Hardware()
    assert read(Facts(nv_tegra_release="# R99 (release), REVISION: 1.0, GCID: 1")).jetpack is None
    assert read(Facts(nv_tegra_release="# R36 (release), REVISION: 9.9, GCID: 1")).jetpack == "6"


def test_what_the_settings_name_wins() -> None:
    found = probe(HardwareSettings(gpu="Orin NX", trt="10.3", cc=None, jetpack=None))
    assert (found.gpu, found.trt) == ("Orin NX", "10.3")


@pytest.mark.parametrize(
    ("variant", "rank"),
    [
        ("any", (0, 0)),
        ("gpu=NVIDIA Orin", (1, 2)),
        ("gpu=orin nx", (1, 2)),
        ("gpu=NVIDIA Jetson Orin NX", (1, 4)),
        ("gpu=AGX Orin", None),
        ("cc=8.7", (1, 2)),
        ("cc=8", None),
        ("trt=10", (1, 1)),
        ("trt=10.3", (1, 2)),
        ("trt=10.30", None),
        ("jetpack=6", (1, 1)),
        ("jetpack=5.1", None),
        ("gpu=Orin;trt=10.3", (2, 3)),
        ("gpu=Orin ; trt=8", None),
    ],
)
def test_a_variant_fits_where_all_its_conditions_hold(variant: str, rank: tuple[int, int] | None) -> None:
    assert fit(variant, Hardware(ORIN_NX, "8.7", "10.3.0", "6.1")) == rank


@pytest.mark.parametrize("variant", ["orin", "gpu=", "sm=8.7", "cc=8.7;cc=8.9", "any;cc=8.7", ""])
def test_what_is_no_variant_is_refused_by_name(variant: str) -> None:
    with pytest.raises(VariantError, match=re.escape(repr(variant))):
        parse(variant)


def files(*variants: str) -> list[CardFile]:
    return [
        CardFile(path=f"1/{number}.plan", variant=variant, sha256="0" * 64) for number, variant in enumerate(variants)
    ]


@pytest.mark.parametrize(
    ("machine", "chosen"),
    [
        ("orin-nx", "gpu=Orin NX;trt=10.3"),
        ("agx-orin", "gpu=Orin"),
        ("x86-rtx", "cc=8.9"),
        ("no-gpu", "any"),
    ],
)
def test_the_most_specific_variant_is_chosen(machine: str, chosen: str) -> None:
    card = files("any", "gpu=Orin", "gpu=Orin NX;trt=10.3", "cc=8.9", "gpu=Orin NX")
    choice = choose(card, read(facts(machine)))
    assert choice.variant == chosen
    assert [file.variant for file in choice.files] == [chosen]
    assert "passed over: " in choice.why


def test_of_equals_the_first_is_chosen_and_its_files_stay_together() -> None:
    card = files("any", "any", "cc=8.7")
    assert choose(card, Hardware()).files == tuple(card[:2])
    assert choose(files("cc=8.7", "jetpack=6.1"), Hardware(cc="8.7", jetpack="6.1")).variant == "cc=8.7"


def test_a_card_for_other_machines_only_says_so() -> None:
    with pytest.raises(VariantError, match=r"no file fits this machine \(no GPU found\); the card has cc=8.7"):
        choose(files("cc=8.7"), Hardware())
