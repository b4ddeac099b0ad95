"""A file that hangs its decoder, needs too much memory or ends the process is one error; all others are read."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from cytoimagenet.builder.errors import CytoImageNetError, UnreadableImageError
from cytoimagenet.builder.images.guard import ImageLimits
from cytoimagenet.builder.images.isolated import Isolated
from cytoimagenet.eval.features.decode import Decoder, decoded
from cytoimagenet.eval.sets import bbbc021, coos7, cyclops, stored
from cytoimagenet.eval.simulate.bbbc021 import simulate_bbbc021
from cytoimagenet.eval.simulate.coos7 import simulate_coos7
from cytoimagenet.eval.simulate.cyclops import simulate_cyclops

from tests.eval.sets import at_fault

WHY = {
    "hangs": "more than 0.5 seconds of processor time",
    "large": "more than 1 GiB of memory",
    "dies": "the process that read it died, twice",
}


@pytest.fixture(scope="module")
def limited():
    """Worker processes with lower limits."""
    return Isolated(stored._call, ImageLimits(seconds=0.5, memory_bytes=2**30))


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    simulate_bbbc021(root / "zips", shape=(20, 24), sites=1, layout="zips")
    simulate_coos7(root / "hdf5", train=2, test=2)
    simulate_cyclops(root / "tree", cells=2, layout="tree")
    return {"bbbc021": bbbc021.read(root / "zips"), "coos7": coos7.read(root / "hdf5"),
            "cyclops": cyclops.read(root / "tree")}  # fmt: skip


def in_this_process(samples, i):
    planes = [stored.decode(place) for place in samples._places(i)]
    return planes[0] if planes[0].ndim == 3 else np.stack(planes)


@pytest.mark.parametrize("name", ["bbbc021", "coos7", "cyclops"])
def test_pixels_and_views_are_those_without_worker_processes(sets, name, monkeypatch):
    samples = sets[name]
    decoder = Decoder(samples, ("concat-norm", "merge-raw"), samples.shape, resize=False, scale=65535.0)
    parts = [range(7), range(7, len(samples))]
    found = list(decoded(decoder, parts, 2))
    for i in (0, len(samples) - 1):
        alone = in_this_process(samples, i)
        assert samples.load(i).dtype == alone.dtype
        np.testing.assert_array_equal(samples.load(i), alone)
    monkeypatch.setattr(type(samples), "several", lambda self, some: [list(in_this_process(self, i)) for i in some])
    for batch, expected in zip(found, decoded(decoder, parts, 2), strict=True):
        np.testing.assert_array_equal(batch.shown, expected.shown)
        np.testing.assert_array_equal(batch.rows, expected.rows)
        assert (batch.count, batch.constant, batch.refused) == (expected.count, expected.constant, [])


@pytest.mark.parametrize(
    ("name", "fault"),
    [(name, fault) for name in ("bbbc021", "coos7", "cyclops") for fault in ("large", "hangs")] + [("coos7", "dies")],
)
def test_a_file_at_fault_is_an_error_that_names_set_sample_and_file(sets, limited, monkeypatch, name, fault):
    samples = sets[name]
    place = samples._places(5)[-1]
    monkeypatch.setattr(stored, "decode", partial(at_fault.decode, {place: fault}))
    monkeypatch.setattr(stored, "WORKERS", limited)
    decoder = Decoder(samples, ("concat-norm",), samples.shape, resize=False)
    with pytest.raises(UnreadableImageError) as caught:
        list(decoded(decoder, [range(len(samples))], 2))
    assert caught.value.reason == WHY[fault]
    file = place if isinstance(place, str) else place.file
    assert caught.value.where == f"{name}, sample {samples.ids[5]}, {file}"
    np.testing.assert_array_equal(samples.load(4), in_this_process(samples, 4))


def test_a_file_that_is_listed_is_limited_too(limited, monkeypatch):
    monkeypatch.setattr(stored, "WORKERS", limited)
    with pytest.raises(UnreadableImageError, match="more than 1 GiB") as caught:
        stored.in_worker(at_fault.fault, ["", "large"], ["good.hdf5", "bad.hdf5"])
    assert caught.value.where == "bad.hdf5"


def test_a_damaged_file_is_named_with_its_sample(sets, monkeypatch):
    samples = sets["bbbc021"]
    table = samples.table.assign(Actin="nowhere.tif")
    damaged = type(samples)(samples.task, samples.root, table, samples.channels, samples.shape)
    with pytest.raises(CytoImageNetError, match=r"nowhere\.tif") as caught:
        damaged.load(3)
    assert caught.value.where == f"bbbc021, sample {samples.ids[3]}, nowhere.tif"
