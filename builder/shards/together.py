"""The rules of `verify` that concern all shards of a dataset folder together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from .. import schema
from ..dataset.manifest import METADATA, Manifest
from ..dataset.manifest import NAME as MANIFEST
from ..schema import SAMPLE
from .check import CheckedShard

SHARDS_WITH_ROWS = tuple(f"data/{split}-" for split in schema.SPLITS)
"""The beginnings of the names of shards that have rows in `metadata.parquet`; those of the split `sample` have none."""

_BySplit = dict[str, list[CheckedShard]]


def check_together(manifest: Manifest, checked: dict[str, CheckedShard]) -> tuple[list[str], list[str]]:
    """Check all shards together.

    Parameters
    ----------
    manifest : Manifest
    checked : dict of str to CheckedShard
        By name.

    Returns
    -------
    problems, notes : list of str
    """
    by_split: _BySplit = {}
    for name, result in checked.items():
        by_split.setdefault(name.removeprefix("data/").split("-", 1)[0], []).append(result)
    problems = [*_repeated_keys(by_split), *_wrong_sums(manifest)]
    # a damaged shard is reported once; the counts and the sample, which are then wrong too, are not
    all_good = all(
        name in checked and not checked[name].problems
        for split in manifest.splits
        for name, *_ in manifest.shards(split)
    )
    if all_good:
        problems += [*_wrong_class_counts(manifest, by_split), *_wrong_sample(by_split)]
    if manifest.settings.get("split") == "published":
        return problems, ["Split by crop, as published: crops of one source image are in train and in validation"]
    return [*problems, *_sources_in_both_splits(by_split)], []


def _repeated_keys(by_split: _BySplit) -> Iterator[str]:
    keys = _joined([result.keys for split in schema.SPLITS for result in by_split.get(split, [])])
    repeated = len(keys) - len(np.unique(keys))
    if repeated:
        yield f"{METADATA}: {repeated:,} keys occur twice"


def _wrong_sums(manifest: Manifest) -> Iterator[str]:
    for split, entry in manifest.splits.items():
        shards = manifest.shards(split)
        sums = {"rows": sum(s[1] for s in shards), "bytes": sum(s[2] for s in shards), "shards": len(shards)}
        if sums != {name: entry.get(name) for name in sums}:
            yield f"{MANIFEST}: split {split!r} is not the sum of its shards"
    images = sum(entry["rows"] for name, entry in manifest.files.items() if name.startswith(SHARDS_WITH_ROWS))
    rows = manifest.files[METADATA]["rows"]
    if rows != images:
        yield f"{METADATA}: {rows:,} rows; the shards have {images:,} images"


def _wrong_class_counts(manifest: Manifest, by_split: _BySplit) -> Iterator[str]:
    counts: Counter[tuple[str, str]] = Counter()
    for results in by_split.values():
        for result in results:
            counts.update(result.counts)
    for entry in manifest.classes:
        found = {split: counts[entry["label"], split] for split in schema.SPLITS}
        if any(found[split] != entry[split] for split in schema.SPLITS):
            recorded = {split: entry[split] for split in schema.SPLITS}
            yield f"{MANIFEST}: class {entry['label']!r} has {found} images, the manifest records {recorded}"


def _wrong_sample(by_split: _BySplit) -> Iterator[str]:
    sample = _joined([result.keys for result in by_split.get(SAMPLE, [])])
    train = _joined([result.keys for result in by_split.get("train", [])])
    if len(np.setdiff1d(sample, train)):
        yield "data/sample: contains images that are not in train"


def _sources_in_both_splits(by_split: _BySplit) -> Iterator[str]:
    """Check that all crops of a source image are in one split."""
    train, validation = (_joined([result.sources for result in by_split.get(s, [])]) for s in schema.SPLITS)
    both = np.intersect1d(train, validation)
    if len(both):
        yield f"{METADATA}: {len(both):,} source images have crops in train and in validation"


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)
