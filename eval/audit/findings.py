"""What an audit finds: near duplicates, wrong labels, outliers and evaluation images, as one table with a summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ...builder import schema
from ...builder.dataset import quality
from ...builder.dataset.embeddings import open_embeddings
from ...builder.dataset.manifest import Manifest
from ...builder.errors import UsageError
from ...loaders.map_images import map_images, read_places
from ..scores.neighbours import nearest
from .defects import KINDS as DEFECTS
from .defects import Outliers, find_outliers
from .duplicates import Duplicates, connected, find_duplicates
from .evaluation import EvaluationSet, matches
from .image_features import features
from .overlap import overlap
from .pixels import measure_dataset
from .probabilities import NEIGHBOURS, train
from .wrong_labels import WrongLabels, find_wrong_labels

FEWEST_IMAGES = 20


@dataclass(frozen=True)
class Findings:
    """What the audit found, before it is written.

    Attributes
    ----------
    rows : DataFrame
        The metadata that the report needs, in the order of `metadata.parquet`.
    table : DataFrame
        `quality.parquet`.
    duplicates : Duplicates
    labels : WrongLabels
    outliers : Outliers
    summary : dict
        Counts and estimates, as JSON values.
    classes : DataFrame
        One row per class: label, images, flagged, share of wrong labels with its interval.
    """

    rows: pd.DataFrame
    table: pd.DataFrame
    duplicates: Duplicates
    labels: WrongLabels
    outliers: Outliers
    summary: dict[str, Any]
    classes: pd.DataFrame


def examine(
    manifest: Manifest, model: str | None, sets: Sequence[EvaluationSet], *, workers: int, seed: int
) -> Findings:
    """Compute all findings; see `audit`."""
    rows = _rows(manifest)
    if len(rows) < FEWEST_IMAGES or len(manifest.classes) < 2:
        raise UsageError(
            f"An audit needs at least {FEWEST_IMAGES} images and 2 classes; this folder has {len(rows)} and "
            f"{len(manifest.classes)}",
            where=manifest.root,
        )
    label = pd.Categorical(rows["label"], categories=list(manifest.class_names)).codes.astype(np.int64)
    pixels = measure_dataset(manifest, workers=workers)
    duplicates = find_duplicates(pixels, workers=workers)
    group = _groups(rows, duplicates)
    vectors = open_embeddings(manifest, model).load() if model else None
    described = features(pixels, vectors)
    del vectors
    near, similarity = nearest(
        described.coarse,
        described.coarse,
        min(NEIGHBOURS, len(rows) - 1),
        "cosine",
        itself=True,
        differ=((group, group),),
    )
    trained = train(
        described.values, label, len(manifest.classes), group, near, similarity, seed=seed, compared=described.compared
    )
    source, sources = pd.factorize(rows["dir_name"], sort=True)
    source = source.astype(np.int64)
    labels = find_wrong_labels(trained, source, group, seed=seed)
    places = read_places(manifest)

    def read(chosen: NDArray[np.int64]) -> Iterator[list[NDArray[np.uint8]]]:
        return map_images(manifest.root, places.take(pa.array(chosen)), lambda images: images, workers=workers)

    outliers = find_outliers(read, pixels, source, label, group, seed=seed)
    evaluation = matches(pixels, sets, workers=workers)
    table = _table(manifest, rows, label, duplicates, near, similarity, labels, outliers, evaluation)
    classes = _classes(manifest, label, table, trained.judged, labels)
    return Findings(
        rows,
        table,
        duplicates,
        labels,
        outliers,
        {
            **_summary(rows, table, labels, sets, trained.judged),
            "sources": _sources(source, sources, table, trained.judged, labels),
        },
        classes,
    )


def _rows(manifest: Manifest) -> pd.DataFrame:
    """Read the columns of the metadata that the audit needs; two of them only in newer folders."""
    needed = ["key", "label", "dir_name", "idx", "x_min", "x_max", "y_min", "y_max", "split", "shard", "offset", "size"]
    optional = [name for name in ("group", "alternatives") if name in schema.METADATA.names]
    rows = manifest.metadata([*needed, *optional])
    for name in ("group", "alternatives"):
        if name not in rows:
            rows[name] = ""
    return rows


def _groups(rows: pd.DataFrame, duplicates: Duplicates) -> NDArray[np.int64]:
    """Number the images that must not be divided between training and test: of one source image, or near duplicates."""
    own = np.where(rows["group"] != "", rows["dir_name"] + "\n" + rows["group"], rows["dir_name"] + "\n" + rows["idx"])
    number = pd.factorize(own)[0].astype(np.int64)
    _, first = np.unique(number, return_index=True)
    linked = np.stack([np.arange(len(rows)), first[number]], axis=1)
    return connected(np.concatenate([duplicates.pairs, linked]), len(rows))


def _table(
    manifest: Manifest,
    rows: pd.DataFrame,
    label: NDArray[np.int64],
    duplicates: Duplicates,
    near: NDArray[np.int64],
    similarity: NDArray[np.float64],
    labels: WrongLabels,
    outliers: Outliers,
    evaluation: NDArray[np.object_],
) -> pd.DataFrame:
    keys, names = rows["key"].to_numpy(dtype=object), np.array([*manifest.class_names, ""], object)
    share, other = overlap(rows)
    judgement = labels.judgement
    doubted = judgement.suggested != label
    # a class that the rule could have given as well is no error
    also = [
        name in alternatives.split("|") if alternatives else False
        for name, alternatives in zip(names[judgement.suggested], rows["alternatives"], strict=True)
    ]
    wrong = labels.flagged & ~np.array(also, bool)
    flags = {
        quality.DUPLICATE_OF_TRAIN: _duplicate_of_train(rows, duplicates),
        quality.DUPLICATE_ACROSS_CLASSES: _across_classes(label, duplicates),
        quality.WRONG_LABEL: wrong,
        quality.OUTLIER: outliers.flagged,
        quality.IN_EVALUATION_SET: evaluation != "",
    }
    distance = np.where(near[:, 0] >= 0, np.maximum(1 - similarity[:, 0], 0), 1.0)
    return pd.DataFrame(
        {
            "key": keys,
            "duplicate_group": duplicates.group,
            "nearest_key": np.where(near[:, 0] >= 0, keys[near[:, 0]], ""),
            "nearest_distance": np.round(distance, 6),
            "overlap": np.round(share, 6),
            "overlap_key": np.where(other >= 0, keys[other], ""),
            "outlier_score": np.round(outliers.score.astype(np.float64), 6),
            "outlier_kind": np.array(DEFECTS, object)[outliers.kind],
            "label_probability": np.round(judgement.probability.astype(np.float64), 6),
            "suggested_label": np.where(doubted, names[judgement.suggested], ""),
            "suggested_probability": np.round(judgement.suggested_probability.astype(np.float64), 6),
            "label_suspicion": judgement.wrong,
            "alternatives": rows["alternatives"],
            "evaluation_match": evaluation.astype(object),
            "flags": _joined(flags, len(rows)),
        }
    )


def _joined(flags: dict[str, NDArray[np.bool_]], images: int) -> NDArray[np.object_]:
    """Return the flags of each image, joined by `|`."""
    code = np.zeros(images, np.int64)
    for bit, name in enumerate(quality.FLAGS):
        code |= flags[name].astype(np.int64) << bit
    texts = ["|".join(name for bit, name in enumerate(quality.FLAGS) if c >> bit & 1) for c in range(2 ** len(flags))]
    return np.array(texts, object)[code]


def _duplicate_of_train(rows: pd.DataFrame, duplicates: Duplicates) -> NDArray[np.bool_]:
    """Return which validation images have a near duplicate among the training images."""
    train = (rows["split"] == "train").to_numpy()
    first, second = duplicates.pairs.T
    found = np.zeros(len(rows), bool)
    found[first[train[second]]] = True
    found[second[train[first]]] = True
    return found & ~train


def _across_classes(label: NDArray[np.int64], duplicates: Duplicates) -> NDArray[np.bool_]:
    """Return which images have a near duplicate with another label."""
    first, second = duplicates.pairs.T
    differ = label[first] != label[second]
    found = np.zeros(len(label), bool)
    found[first[differ]] = found[second[differ]] = True
    return found


def _classes(
    manifest: Manifest,
    label: NDArray[np.int64],
    table: pd.DataFrame,
    judged: NDArray[np.bool_],
    labels: WrongLabels,
) -> pd.DataFrame:
    count = len(manifest.classes)

    def per_class(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(label[mask], minlength=count)

    confirmed = labels.judgement.suggested == label
    flagged = {
        name: table["flags"].str.contains(rf"(?:^|\|){name}(?:\||$)", regex=True).to_numpy() for name in quality.FLAGS
    }
    return pd.DataFrame(
        {
            "label": list(manifest.class_names),
            "category": [entry["category"] for entry in manifest.classes],
            "images": np.bincount(label, minlength=count),
            "judged": per_class(judged),
            "recognised": per_class(confirmed & judged) / np.maximum(per_class(judged), 1),
            "wrong_share": [estimate.share for estimate in labels.by_class],
            "wrong_low": [estimate.low for estimate in labels.by_class],
            "wrong_high": [estimate.high for estimate in labels.by_class],
            **{f"flagged_{name}": per_class(mask) for name, mask in flagged.items()},
        }
    )


def _summary(
    rows: pd.DataFrame,
    table: pd.DataFrame,
    labels: WrongLabels,
    sets: Sequence[EvaluationSet],
    judged: NDArray[np.bool_],
) -> dict[str, Any]:
    split, clean = rows["split"], quality.is_clean(table["flags"])
    groups = table.loc[table["duplicate_group"] >= 0, "duplicate_group"]
    pairs = pd.DataFrame({"group": groups, "split": split, "label": rows["label"]}).dropna()
    return {
        "images": len(table),
        "classes": int(rows["label"].nunique()),
        "duplicate_images": len(groups),
        "duplicate_groups": int(groups.nunique()),
        "duplicate_groups_across_split": _groups_among(pairs, "split"),
        "duplicate_groups_across_classes": _groups_among(pairs, "label"),
        "flagged": {name: int(quality.has_flag(table["flags"], name).sum()) for name in quality.FLAGS},
        "judged": int(judged.sum()),
        "wrong_labels": _rounded(labels.total),
        "wrong_labels_by_kind": {kind: _rounded(estimate) for kind, estimate in labels.by_kind.items()},
        "compared_with": {one.name: len(one.ids) for one in sets},
        "clean": {name: int((clean & (split == name)).sum()) for name in schema.SPLITS},
    }


def _sources(
    source: NDArray[np.int64], names: pd.Index, table: pd.DataFrame, judged: NDArray[np.bool_], labels: WrongLabels
) -> list[dict[str, Any]]:
    """Return counts and the estimate of wrong labels of each source."""
    masks = {
        "images": np.ones(len(source), bool),
        "judged": judged,
        "recognised": judged & (table["suggested_label"] == "").to_numpy(),
        "duplicate_images": (table["duplicate_group"] >= 0).to_numpy(),
        **{f"flagged_{name}": quality.has_flag(table["flags"], name) for name in quality.FLAGS},
    }
    counts = {name: np.bincount(source[mask], minlength=len(names)) for name, mask in masks.items()}
    return [
        {
            "source": str(name),
            **{key: int(of[number]) for key, of in counts.items()},
            "wrong_labels": _rounded(labels.by_source[number]),
        }
        for number, name in enumerate(names)
    ]


def _groups_among(pairs: pd.DataFrame, column: str) -> int:
    """Return the number of groups with more than one value in a column."""
    values = pairs[["group", column]].drop_duplicates()
    return int(values.loc[values["group"].duplicated(), "group"].nunique())


def _rounded(estimate: Any) -> list[float]:
    return [round(float(value), 5) for value in (estimate.share, estimate.low, estimate.high)]
