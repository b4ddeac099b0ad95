"""The names a manifest may contain: those that `shard` writes, and no others."""

import pytest
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.dataset.names import CLASSES, METADATA, NAMES, PAGES, REJECTED, may_have
from hypothesis import given
from hypothesis import strategies as st

SHARDS = st.builds(
    lambda split, number, more, ending: f"data/{split}-{number:05d}-of-{number + more:05d}.{ending}",
    st.sampled_from(["train", "validation", "sample"]),
    st.integers(0, 10**6),
    st.integers(1, 10**6),
    st.sampled_from(["tar", "parquet"]),
)


def is_data_file(name, form):
    return may_have("files", name, form)


FORMAT_OF = {"tar": "webdataset", "parquet": "parquet"}


@given(SHARDS)
def test_names_of_shards_are_accepted_in_their_format_alone(name):
    form = FORMAT_OF[name.rsplit(".")[-1]]
    assert is_data_file(name, form)
    assert not is_data_file(name, next(other for other in FORMAT_OF.values() if other != form))
    assert not is_data_file(name, "")


@pytest.mark.parametrize("form", FORMAT_OF.values())
@pytest.mark.parametrize(
    "name",
    [
        *("setup.py", "datasets.py", "x.pkl", ".bashrc", ".git/hooks/post-checkout", "cytoimagenet.py", "notes.txt"),
        *("", ".", "..", "./metadata.parquet", "data", "data/", "CON", "/etc/passwd", "../metadata.parquet"),
        *("C:\\metadata.parquet", "data\\train-00000-of-00001.tar", "metadata.parquet\n", "metadata.parquet\0"),
        *("data/train-00000-of-00001.tar.py", "data/train-00000-of-00001.tar\n", "data/test-00000-of-00001.tar"),
        *("data/train-1-of-2.tar", "data/train-00001-of-00001.tar", "data/train-٠٠٠٠٠-of-٠٠٠٠١.tar"),
        *("x/data/train-00000-of-00001.tar", "data//train-00000-of-00001.tar", "data/../metadata.parquet"),
        *("metadata\u202etekrap.parquet", "\x1b[2Jmetadata.parquet", "manifest.json", *PAGES),
    ],
)
def test_other_names_are_refused(name, form):
    assert not is_data_file(name, form)


@given(SHARDS | st.sampled_from([METADATA, CLASSES, REJECTED]), st.data())
def test_names_that_differ_in_case_alone_are_refused(name, data):
    """So that no two files of a folder are one file on the disks of macOS and Windows."""
    at = data.draw(st.sampled_from([i for i, letter in enumerate(name) if letter.isalpha()]))
    other = name[:at] + name[at].swapcase() + name[at + 1 :]
    assert not any(is_data_file(other, form) for form in FORMAT_OF.values())


def test_all_names_of_a_folder_differ_on_every_disk(small_dataset):
    manifest = Manifest.load(small_dataset)
    names = [*manifest.files, *manifest.pages, "manifest.json"]
    assert len({name.casefold() for name in names}) == len(names)


def test_every_name_belongs_to_one_key_of_the_manifest(small_dataset):
    written = Manifest.load(small_dataset)
    for name in written.all_files:
        parts = [part for part in NAMES if may_have(part, name, written.shard_format)]
        assert len(parts) == 1 and name in written.data[parts[0]]
    assert set(PAGES) == set(written.pages)
