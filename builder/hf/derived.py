"""What the builder of `datasets` yields of the files that `audit` and `embed` add: the clean part, and the vectors."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from .. import schema
from ..dataset.embeddings import open_embeddings, path_of
from ..dataset.manifest import Manifest
from ..dataset.names import EMBEDDINGS, QUALITY
from ..dataset.quality import CLEAN, part, read_quality

__all__ = ["EMBEDDINGS", "clean_keys", "clean_sizes", "digest_of", "read_vectors", "vector_features"]


def digest_of(manifest: Manifest, config: str, model: str | None) -> str:
    """Return the sha256 of the file that a config reads: the table of the audit, or the embeddings of a model.

    Raises
    ------
    UsageError
        If the folder has no such file.
    """
    if config == CLEAN:
        read_quality(manifest, ["flags"])
        return str(manifest.derived[QUALITY]["sha256"])
    return str(manifest.derived[path_of(open_embeddings(manifest, model).model)]["sha256"])


def clean_sizes(manifest: Manifest, classes: Collection[int] | None) -> dict[str, int]:
    """Return the number of images of each split of the clean part; empty splits are left out.

    Parameters
    ----------
    manifest : Manifest
        Of an audited dataset folder.
    classes : collection of int, optional
        Class numbers; None for all.
    """
    rows = manifest.metadata(["split", "label"])
    kept = part(manifest, CLEAN)
    if classes is not None:
        kept &= rows["label"].isin([manifest.class_names[number] for number in classes]).to_numpy()
    sizes = rows.loc[kept, "split"].value_counts()
    return {split: int(sizes[split]) for split in schema.SPLITS if sizes.get(split, 0)}


def clean_keys(manifest: Manifest) -> frozenset[str]:
    """Return the keys of the clean part."""
    return _clean_keys(manifest.root, manifest.derived[QUALITY]["sha256"])


@lru_cache(maxsize=1)
def _clean_keys(root: str, sha256: str) -> frozenset[str]:
    """Read the keys once for all shards; another audit has another digest."""
    manifest = Manifest.load(root)
    return frozenset(manifest.metadata(["key"])["key"].to_numpy()[part(manifest, CLEAN)].tolist())


def vector_features(manifest: Manifest, model: str | None) -> dict[str, Any]:
    """Return the columns of the embeddings: key, label and vector."""
    dimensions = open_embeddings(manifest, model).shape[1]
    return {
        "key": {"dtype": "string", "_type": "Value"},
        "label": {"names": list(manifest.class_names), "_type": "ClassLabel"},
        "vector": {"feature": {"dtype": "float16", "_type": "Value"}, "length": dimensions, "_type": "List"},
    }


def read_vectors(
    manifest: Manifest, model: str | None, split: str, classes: Collection[int] | None
) -> Iterator[pa.Table]:
    """Yield the images of a split in the order of `metadata.parquet`, as tables of the columns key, label and vector.

    Parameters
    ----------
    manifest : Manifest
        Of a dataset folder with embeddings.
    model : str, optional
        Not needed if the folder has the embeddings of one model only.
    split : {"train", "validation"}
    classes : collection of int, optional
        Class numbers; None for all.
    """
    rows = manifest.metadata(["key", "label", "split"])
    number = {label: index for index, label in enumerate(manifest.class_names)}
    label = rows["label"].map(number).to_numpy(np.int64)
    chosen = (rows["split"] == split).to_numpy()
    if classes is not None:
        chosen = chosen & np.isin(label, list(classes))
    keys = pa.array(rows["key"], pa.string())
    embeddings = open_embeddings(manifest, model)
    vector = pa.list_(pa.float16(), embeddings.shape[1])
    # values stay in Arrow's memory: as a list of numbers, each vector would take a millisecond
    for start, block in embeddings.blocks():
        here = np.flatnonzero(chosen[start : start + len(block)])
        if len(here):
            values = pa.FixedSizeListArray.from_arrays(pa.array(block[here].ravel()), type=vector)
            yield pa.table({"key": keys.take(pa.array(start + here)), "label": label[start + here], "vector": values})
