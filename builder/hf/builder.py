"""CytoImageNet as a builder class of `datasets`. Nothing else may be in this module.

On first use `datasets` replaces `open`, `os.path`, `pathlib.Path` and more in the module of a builder, so any other
code here would run with other functions than it was written for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import datasets
import pyarrow as pa
from datasets.builder import Key

from .. import schema
from ..dataset.class_names import find_classes
from ..dataset.find import FOLDER, cache_key, find
from ..dataset.manifest import Manifest
from ..dataset.quality import CLEAN
from ..dataset.resize import check_size
from ..errors import UsageError
from .derived import EMBEDDINGS, clean_keys, clean_sizes, digest_of, read_vectors, vector_features
from .examples import SAMPLE, are_few, features, read_chosen, read_shard, resized, split_sizes


@dataclass
class CytoImageNetConfig(datasets.BuilderConfig):
    """The part of the dataset to load: one category, some labels, the clean part, the embeddings, or all.

    `size` is that of the images; `derived` is the sha256 of the file that `clean` or `embeddings` reads.
    """

    category: str | None = None
    labels: list[str] | None = None
    size: int | None = None
    model: str | None = None
    derived: str | None = None


VERSION = datasets.Version(schema.VERSION)
CONFIGS = [
    CytoImageNetConfig("default", VERSION, description="All classes"),
    CytoImageNetConfig(SAMPLE, VERSION, description="10 training images per class"),
    CytoImageNetConfig(CLEAN, VERSION, description="Without the images that the audit flagged"),
    CytoImageNetConfig(EMBEDDINGS, VERSION, description="One vector per image instead of the image"),
    *(CytoImageNetConfig(name, VERSION, category=name, description=f"Classes of {name}") for name in schema.CATEGORIES),
]


class CytoImageNet(datasets.GeneratorBasedBuilder):
    """The dataset as a builder of `datasets`, for code that needs more control than `load_dataset` gives.

    Parameters
    ----------
    config_name : str, optional
        `default`, `sample`, `clean`, `embeddings`, or a category.
    data_dir : str or path, optional
        The dataset folder, local or a URL; found as by `load_dataset` if not given.
    labels : list of str, optional
        Only these classes.
    model : str, optional
        With `embeddings`: the model; not needed if the folder has the embeddings of one model only.
    size : int, optional
        Side in pixels to which every image is scaled (`dataset/resize.py`); by default they keep their sizes.
    revision : str, optional
        Tag, branch or commit of a copy on the Hub.
    **kwargs
        Arguments of `datasets.DatasetBuilder`.

    Examples
    --------
    >>> builder = CytoImageNet(data_dir="cytoimagenet", config_name="compound")  # doctest: +SKIP
    >>> builder.download_and_prepare(num_proc=8)                                 # doctest: +SKIP
    >>> builder.as_dataset(split="validation")                                   # doctest: +SKIP
    """

    VERSION = VERSION
    BUILDER_CONFIG_CLASS = CytoImageNetConfig
    BUILDER_CONFIGS = CONFIGS
    DEFAULT_CONFIG_NAME = "default"

    def __init__(
        self,
        cache_dir: str | None = None,
        dataset_name: str | None = None,
        config_name: str | None = None,
        hash: str | None = None,
        *,
        data_dir: str | PathLike[str] | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.manifest = Manifest.load(find(data_dir, revision))
        # `data_dir` is not passed on: the key of the cache would then depend on the place instead of the digest
        kwargs["base_path"] = self.manifest.root
        if config_name in (CLEAN, EMBEDDINGS):
            # part of the key of the cache: another audit, or embeddings of another model, are other data
            kwargs["derived"] = digest_of(self.manifest, config_name, kwargs.get("model"))
        super().__init__(cache_dir, dataset_name or FOLDER, config_name, hash or cache_key(self.manifest), **kwargs)

    def __repr__(self) -> str:
        numbers = self._class_numbers()
        sizes = self._sizes()
        classes = len(self.manifest.classes) if numbers is None else len(numbers)
        parts = [f"{split} {rows:,} image{'s' * (rows != 1)}" for split, rows in sizes.items()]
        parts.append(f"{classes:,} class{'es' * (classes != 1)}")
        parts.append("sizes as stored" if self.config.size is None else f"{self.config.size} px")
        return f"CytoImageNet({self.config.name}: {', '.join(parts)}; {self.manifest.root})"

    def _info(self) -> datasets.DatasetInfo:
        check_size(self.config.size)
        sizes = {} if self.config.data_files else self._sizes()
        splits = {
            name: datasets.SplitInfo(name, num_examples=rows, dataset_name=FOLDER) for name, rows in sizes.items()
        }
        return datasets.DatasetInfo(
            description="Microscopy images with weak labels, to pretrain on",
            features=datasets.Features.from_dict(
                vector_features(self.manifest, self.config.model)
                if self.config.name == EMBEDDINGS
                else features(self.manifest)
            ),
            splits=datasets.SplitDict(splits, dataset_name=FOLDER) if splits else None,
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        classes = self._class_numbers()
        if self.config.data_files:
            files = {str(split): list(paths) for split, paths in self.config.data_files.items()}
            rows: dict[str, list[int | None]] = {split: [None] * len(shards) for split, shards in files.items()}
        else:
            sizes = self._sizes()
            if self.config.name == EMBEDDINGS:
                return _generators({split: [split] for split in sizes}, {split: [None] for split in sizes})
            source = {split: SAMPLE if self.config.name == SAMPLE else split for split in sizes}
            shards = {split: self.manifest.shards(name) for split, name in source.items()}
            files = {split: [f"{self.manifest.root}/{shard[0]}" for shard in of] for split, of in shards.items()}
            rows = {split: [shard[1] for shard in of] for split, of in shards.items()}
            if classes is not None and self.config.name != SAMPLE and are_few(self.manifest, sizes):
                # complete shards would have hundreds of times the bytes of the requested images
                names = {split: [shard[0] for shard in of] for split, of in shards.items()}
                return _generators(names, rows, by_place=True)
        return _generators(dl_manager.download(files), rows)

    def _generate_shards(self, shards: list[str], rows: list[int | None], by_place: bool) -> Iterator[str]:
        yield from shards

    def _generate_examples(
        self, shards: list[str], rows: list[int | None], by_place: bool
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        shard_format, classes = self.manifest.shard_format, self._class_numbers()
        kept = clean_keys(self.manifest) if self.config.name == CLEAN else None
        for number, (shard, count) in enumerate(zip(shards, rows, strict=True)):
            if by_place:
                examples = read_chosen(self.manifest, shard, classes or ())
            else:
                examples = read_shard(shard, shard_format, classes, count, self.manifest.schema_version)
            for place, example in enumerate(examples):
                if kept is None or example["key"] in kept:
                    yield Key(number, place), resized(example, self.config.size)

    # The vectors are stored as Arrow tables: this config is prepared and streamed as that of an `ArrowBasedBuilder`

    def _generate_tables(
        self, shards: list[str], rows: list[int | None], by_place: bool
    ) -> Iterator[tuple[Key, pa.Table]]:
        for split in shards:
            tables = read_vectors(self.manifest, self.config.model, split, self._class_numbers())
            yield from ((Key(0, number), table) for number, table in enumerate(tables))

    def _prepare_split_single(self, *, split_info: datasets.SplitInfo, **settings: Any) -> Iterator[Any]:
        if self.config.name == EMBEDDINGS:
            return datasets.ArrowBasedBuilder._prepare_split_single(self, **settings)
        return super()._prepare_split_single(split_info=split_info, **settings)

    def _get_examples_iterable_for_split(self, split_generator: datasets.SplitGenerator) -> Any:
        if self.config.name == EMBEDDINGS:
            return datasets.ArrowBasedBuilder._get_examples_iterable_for_split(self, split_generator)
        return super()._get_examples_iterable_for_split(split_generator)

    def _sizes(self) -> dict[str, int]:
        """Return the number of examples of each split of this config; empty splits are left out."""
        if self.config.name == CLEAN:
            return clean_sizes(self.manifest, self._class_numbers())
        return split_sizes(self.manifest, self.config.name, self._class_numbers())

    def _class_numbers(self) -> frozenset[int] | None:
        """Return the numbers of the requested classes; None for all."""
        names, labels = self.manifest.class_names, self.config.labels
        if self.config.category is None and labels is None:
            return None
        labels = None if labels is None else find_classes(labels, names, self.manifest.root)
        numbers = frozenset(
            index
            for index, entry in enumerate(self.manifest.classes)
            if self.config.category in (None, entry["category"]) and (labels is None or entry["label"] in labels)
        )
        if not numbers:
            present = sorted({entry["category"] for entry in self.manifest.classes})
            raise UsageError(
                f"No requested class has the category {self.config.category!r}",
                where=self.manifest.root,
                next=f"This dataset has classes of the categories {', '.join(present)}",
            )
        return numbers


def _generators(
    shards: Mapping[str, list[str]], rows: Mapping[str, list[int | None]], by_place: bool = False
) -> list[datasets.SplitGenerator]:
    """Return one generator per split; `datasets` divides the lists among its processes."""
    return [
        datasets.SplitGenerator(split, {"shards": list(paths), "rows": rows[split], "by_place": by_place})
        for split, paths in shards.items()
    ]
