"""`load_dataset` by name or by path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any

from .. import schema
from ..dataset.find import FOLDER, cache_key, find
from ..dataset.manifest import Manifest
from ..errors import CytoImageNetError, UsageError

if TYPE_CHECKING:
    import datasets

CONFIGS = ("default", "sample", "clean", "embeddings", *schema.CATEGORIES)


def load_dataset(
    config: str | PathLike[str] = "default",
    *,
    split: str | None = None,
    streaming: bool = False,
    labels: Iterable[str] | None = None,
    size: int | None = None,
    model: str | None = None,
    data_dir: str | PathLike[str] | None = None,
    revision: str | None = None,
) -> datasets.DatasetDict | datasets.Dataset | datasets.IterableDatasetDict | datasets.IterableDataset:
    """Load CytoImageNet with its images, class names and metadata.

    Parameters
    ----------
    config : str or path
        `default` (all), `sample` (10 training images per class), `clean` (without the images that the audit of the
        folder flagged), `embeddings` (one vector per image instead of the image), or one category: organism, cell_type,
        cell_visible, phenotype, compound, gene, sirna. Or the path or URL of the dataset folder, as `data_dir`, for all
        of it.
    split : str, optional
        `train`, `validation`, or a slice such as `train[:10%]`; without it, a dict of all splits.
    streaming : bool
        Read images when they are needed instead of preparing an Arrow copy of all images first.
    labels : iterable of str, optional
        Only these classes. Class numbers stay those of the complete dataset.
    size : int, optional
        Scale every image to a square of this side in pixels, by `builder/dataset/resize.py`. By default images keep
        their sizes, which differ: a DataLoader can't stack them. `width`, `height` and the crop box stay those of the
        stored image. Without streaming, a second Arrow copy is prepared for each size.
    model : str, optional
        With `embeddings`: the model; not needed if the folder has the embeddings of one model only.
    data_dir : str or path, optional
        The dataset folder, local or a URL. Without it: `$CYTOIMAGENET_HOME`, then `./cytoimagenet`, then the latest
        folder that `cytoimagenet pull`, `build` or `import-kaggle` wrote.
    revision : str, optional
        Tag, branch or commit of a copy on the Hub, pulled or read through `hf://`.

    Returns
    -------
    DatasetDict, Dataset, IterableDatasetDict or IterableDataset
        Columns `image` (PIL, 8-bit grey), `label` (ClassLabel), `key` and every column of the metadata; of
        `embeddings` `key`, `label` and `vector` (16-bit floats).

    Raises
    ------
    UsageError
        If there is no dataset, config or label of that name, or the folder has no audit or embeddings.

    Examples
    --------
    >>> load_dataset("/data/cytoimagenet", split="train", size=224).with_format("torch")    # doctest: +SKIP
    >>> load_dataset("sample", split="train")[0]["image"]               # doctest: +SKIP
    >>> load_dataset("organism", streaming=True, split="validation")    # doctest: +SKIP
    """
    from .builder import CytoImageNet

    if config not in CONFIGS:
        data_dir, config = _folder(config, data_dir), "default"
    chosen: dict[str, Any] = {} if size is None else {"size": size}
    if labels is not None:
        chosen["labels"] = [labels] if isinstance(labels, str) else list(labels)
    if size is not None and config == "embeddings":
        raise UsageError("Embeddings have no size", next="Leave out size")
    if model is not None:
        if config != "embeddings":
            raise UsageError(f"The config {config!r} has no model", next='Use the config "embeddings", or no model')
        chosen["model"] = model
    builder = CytoImageNet(config_name=config, data_dir=find(data_dir, revision), **chosen)
    if streaming:
        return builder.as_streaming_dataset(split=split)
    try:
        builder.download_and_prepare()
    except Exception as error:
        if isinstance(error.__cause__, CytoImageNetError):
            raise error.__cause__ from None  # our error has the next step; that of `datasets` has not
        raise
    return builder.as_dataset(split=split)


def _folder(path: str | PathLike[str], data_dir: str | PathLike[str] | None) -> str:
    """Return the first argument of `load_dataset` if it can only be a folder.

    Raises
    ------
    UsageError
        If it is neither a config nor a path.
    """
    text = os.fspath(path)
    is_path = "://" in text or any(mark in text for mark in ("/", os.sep, "~")) or os.path.isdir(text)
    if not is_path:
        raise UsageError(f"No config {text!r}", next=f"There are {', '.join(CONFIGS)}; or give the path of a folder")
    if data_dir is not None:
        raise UsageError(
            "Two dataset folders are named",
            where=text,
            next=f"Leave out one of them: the first argument, or data_dir={os.fspath(data_dir)!r}",
        )
    return text


def dataset_module(
    revision: str | None = None, data_dir: str | None = None, data_files: Any = None, **rest: Any
) -> Any:
    """Return to `datasets` the module that builds `cytoimagenet` (see `hook`); further arguments have no effect."""
    from datasets.load import DatasetModule

    root = find(data_dir, revision)
    return DatasetModule(
        module_path=f"{__package__}.builder",
        hash=cache_key(Manifest.load(root)),
        builder_kwargs={"data_dir": root, "dataset_name": FOLDER},
    )
