"""The 40 records are complete, frozen and equal to the documents."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from cytoimagenet import SOURCES
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.builder.simulate.source import layouts
from cytoimagenet.builder.sources import overview, registry
from cytoimagenet.builder.sources.record import BROAD, CIL, DATABASES, IDR, KAGGLE, RECURSION


def test_there_are_forty_in_the_order_of_their_names():
    assert list(SOURCES) == sorted(SOURCES)
    assert Counter(source.database for source in SOURCES.values()) == {
        BROAD: 18,
        IDR: 13,
        KAGGLE: 4,
        RECURSION: 4,
        CIL: 1,
    }


def test_records_and_registry_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SOURCES["bbbc013"].organism = "mouse"  # type: ignore[misc]
    with pytest.raises(TypeError):
        SOURCES["mine"] = SOURCES["bbbc013"]  # type: ignore[index]


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_record_is_complete(source):
    for name in ("name", "link", "licence", "citation", "microscopy", "pattern"):
        assert getattr(source, name).strip() == getattr(source, name) != "", name
    assert source.database in DATABASES
    assert source.link.startswith(("http://", "https://"))
    assert source.downloads
    assert source.formats
    assert source.images > 0
    assert set(source.apart) <= set(source.stains)
    assert all(channel == channel.lower() for channel in source.stains)
    assert not any("|" in stain for stain in source.stains.values())
    pc.extract_regex(pa.array(["x"]), source.pattern)  # RE2 takes it, all groups are named
    assert ("(?P<channel>" in source.pattern) == (set(source.stains) not in (set(), {""}))


def test_every_source_can_be_simulated():
    assert set(layouts()) == set(SOURCES)


def test_a_wrong_name_gets_the_nearest_ones():
    with pytest.raises(UsageError, match="Did you mean bbbc013"):
        registry.chosen(["bbbc13"])
    with pytest.raises(UsageError, match="evaluation data"):
        registry.chosen(["bbbc021"])
    assert registry.nearest("KAG_HPA_SINGEL")[0] == "kag_hpa_single"
    assert registry.nearest("BBBC_6")[0] == registry.nearest("bbbc006 ")[0] == "bbbc006"
    assert registry.nearest("zzzz") == []


def test_the_page_of_sources_is_that_of_the_registry(checkout):
    assert (checkout / "docs" / "sources.md").read_text() == overview.markdown(), (
        "run `cytoimagenet sources --markdown > docs/sources.md`"
    )


def test_facts_are_ready_for_json():
    facts = overview.facts(SOURCES["bbbc010"])
    assert facts["stains"] == ["intestine", "brightfield"]
    assert facts["microscopy"] == ["fluorescence", "brightfield"]
    assert facts["downloads"] == ["https://data.broadinstitute.org/bbbc/BBBC010/BBBC010_v2_images.zip"]
    assert facts["licence_verified"] is False
