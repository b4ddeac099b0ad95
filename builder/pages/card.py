"""The dataset card, `README.md`: YAML with the columns of the folder for `datasets`, and a text for readers.

Every number comes from the manifest and the tables of the folder. The text is the template `dataset_card.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .. import schema
from ..ambiguous import COLUMNS, ambiguous_classes, warnings
from ..dataset import embeddings, quality
from ..dataset.columns import card_features
from ..dataset.describe import split_in_words
from ..dataset.manifest import Manifest
from ..dataset.names import README
from ..errors import CheckFailedError
from ..storage import join, write_atomic
from .licences import LICENCES
from .markdown import cell, linked

if TYPE_CHECKING:
    from ..sources.record import Source

TEMPLATE = "dataset_card.md"  # at the root of a checkout and of the installed package
FEW_TRAINING_IMAGES = 100  # the card counts the classes with fewer
LICENCE = "other"  # the Hub's word for a licence that is not in its list; here each row names its own
LICENCE_NAME = "mixed-see-each-image"
LIBRARIES = {  # the Hub's tags of libraries that read the folder; tests read it with each
    "webdataset": ["datasets", "webdataset", "mlcroissant"],
    "parquet": ["datasets", "pandas", "mlcroissant"],
}


@dataclass(frozen=True, kw_only=True)
class OwnSource:
    """The facts about a user's own source, from the manifest."""

    dir_name: str
    name: str
    database: str
    licence: str
    link: str
    citation: str

    @property
    def licence_label(self) -> str:
        """The licence as its user states it."""
        return self.licence


class _DumperWithoutAnchors(yaml.SafeDumper):
    """Writes YAML without anchors and aliases, which some readers of cards do not resolve."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_card(out: str | PathLike[str], manifest: Manifest) -> None:
    """Write `README.md` of a dataset folder.

    Parameters
    ----------
    out : str or path
        The dataset folder, local or a URL.
    manifest : Manifest
        Of the folder, whose tables are written.
    """
    header = yaml.dump(metadata(manifest), Dumper=_DumperWithoutAnchors, sort_keys=False, allow_unicode=True, width=120)
    write_atomic(join(out, README), f"---\n{header}---\n\n{body(manifest)}".encode())


def metadata(manifest: Manifest) -> dict[str, Any]:
    """Return the content of the card's YAML, with the keys that the Hub documents.

    Its specification is https://github.com/huggingface/hub-docs/blob/main/datasetcard.md. `datasets` needs the column
    names png, cls and json as they are.
    """
    configs = {"default": {split: split for split in schema.SPLITS if manifest.rows(split)}}
    if manifest.rows("sample"):
        configs["sample"] = {"train": "sample"}
    suffix = "parquet" if manifest.shard_format == "parquet" else "tar"
    features = card_features(manifest)
    sources = sorted(manifest.metadata(["dir_name"])["dir_name"].unique())
    return {
        "pretty_name": "CytoImageNet",
        "license": LICENCE,
        "license_name": LICENCE_NAME,
        "license_link": LICENCES,
        "annotations_creators": ["found", "machine-generated"],  # texts of the publishers; a program chose among them
        "source_datasets": [f"extended|other-{name}" for name in sources],
        "task_categories": ["image-classification"],
        "task_ids": ["multi-class-image-classification"],
        "tags": ["biology", "microscopy", "bioimage", "cells", *LIBRARIES[manifest.shard_format]],
        "size_categories": [size_category(sum(manifest.rows(split) for split in schema.SPLITS))],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == "default" else {}),
                "data_files": [{"split": split, "path": f"data/{files}-*.{suffix}"} for split, files in splits.items()],
            }
            for name, splits in configs.items()
        ],
        "dataset_info": [
            {
                "config_name": name,
                "features": features,
                "splits": [
                    {
                        "name": split,
                        "num_bytes": manifest.splits[files]["bytes"],
                        "num_examples": manifest.rows(files),
                    }
                    for split, files in splits.items()
                ],
                "download_size": sum(manifest.splits[files]["bytes"] for files in splits.values()),
                "dataset_size": sum(manifest.splits[files]["bytes"] for files in splits.values()),
            }
            for name, splits in configs.items()
        ],
    }


def body(manifest: Manifest) -> str:
    """Return the text below the YAML: the template `dataset_card.md`, filled in from the manifest and its tables."""
    from jinja2 import Environment, StrictUndefined

    from ..sources.registry import SOURCES

    own = {name: OwnSource(dir_name=name, **_known(facts)) for name, facts in manifest.own_sources.items()}
    template = (Path(__file__).resolve().parents[2] / TEMPLATE).read_text(encoding="utf-8")
    # Markdown, not HTML: the filter `cell` escapes what could break a table or become markup
    environment = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701
    environment.filters["cell"] = cell
    environment.filters["linked"] = linked
    environment.filters["percent"] = percent
    rows = manifest.metadata(["dir_name", "database", *COLUMNS])
    if not len(rows) or not manifest.classes:
        raise CheckFailedError("The dataset has no image or no class", where=manifest.root, next="Build it again")
    counts = rows["dir_name"].value_counts()
    # the user's own source may have the name of one of the 40
    records: Mapping[str, Source | OwnSource] = {**SOURCES, **own}
    present = [(records[name], int(counts[name])) for name in sorted(counts.index) if name in records]
    by_category: dict[str, list[int]] = {}
    for entry in manifest.classes:
        by_category.setdefault(entry["category"], []).append(entry["train"] + entry["validation"])
    train = [entry["train"] for entry in manifest.classes]
    databases = rows["database"].value_counts(normalize=True)
    return environment.from_string(template).render(
        images=f"{len(rows):,}",
        classes=manifest.classes,
        splits=manifest.splits,
        split=split_in_words(str(manifest.settings.get("split", "by-image")), manifest.counts.get("split", {})),
        categories=[(name, len(sizes), sum(sizes)) for name, sizes in sorted(by_category.items())],
        sources=present,
        own_sources=[own[name] for name in sorted(own) if name in counts.index],
        all_sources=sorted(SOURCES.values(), key=lambda source: source.dir_name),
        parquet=manifest.shard_format == "parquet",
        imported="imported" in manifest.settings,
        settings=dict(manifest.settings),
        seed=manifest.seed,
        rejected=manifest.counts.get("rejected", 0),
        may_be_wrong=warnings(ambiguous_classes(rows)),
        small=sum(count < FEW_TRAINING_IMAGES for count in train),
        largest=max(train),
        smallest=min(train),
        most=(str(databases.index[0]), float(databases.iloc[0])),
        digest=manifest.digest,
        audit=quality.summary_of(manifest),
        embeddings=_embeddings(manifest),
    )


def _embeddings(manifest: Manifest) -> list[dict[str, Any]]:
    """Return name, network, number of values and size of the input of each file of embeddings."""
    settings = {name: manifest.derived[embeddings.path_of(name)]["settings"] for name in embeddings.names(manifest)}
    return [
        {
            "name": name,
            "model": one.get("model", ""),
            "dimensions": one["dimensions"],
            "size": str(one.get("input_size", "")),
        }
        for name, one in settings.items()
        if one.get("dataset") == manifest.digest and type(one.get("dimensions")) is int
    ]


def percent(share: float) -> str:
    """Return a share as text.

    Examples
    --------
    >>> percent(0.0314)
    '3.1 %'
    """
    return f"{100 * share:.1f} %"


def _known(facts: Mapping[str, str]) -> dict[str, str]:
    """Return the facts that the card shows; a manifest may have others."""
    return {name: facts.get(name, "") for name in ("name", "database", "licence", "link", "citation")}


def size_category(images: int) -> str:
    """Return the Hub's size category for a number of images.

    Examples
    --------
    >>> size_category(890_737)
    '100K<n<1M'
    """
    bounds = {"1K": 1e3, "10K": 1e4, "100K": 1e5, "1M": 1e6, "10M": 1e7, "100M": 1e8, "1B": 1e9}
    passed = ["n<1K", *(f"{low}<n<{high}" for low, high in pairwise(bounds))]
    return passed[sum(images >= bound for bound in list(bounds.values())[:-1])]
