"""Score a table of features on a task, whatever computed the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..builder.errors import UsageError
from .own_tables import Columns, own_tables
from .protocols.settings import CyclopsLabels, EvaluationSettings, Taxol
from .results.score import Result
from .score_features import about_prefixes, score_features
from .sets.samples import Samples
from .tables.feature_table import FeatureTable, is_table, read_table
from .tasks.record import Task
from .tasks.registry import TASKS, find

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from ..builder.image_table.table import ImageTable
    from .features.backbones import Backbone
    from .own_images import OwnImages
    from .scores.standardise import Standardisation
    from .scores.votes import Ties


def evaluate(
    task: str | PathLike[str] | Task | ImageTable | None,
    features: str | PathLike[str] | pd.DataFrame | FeatureTable | Backbone | torch.nn.Module,
    metadata: str | PathLike[str] | Samples | None = None,
    *,
    label: str | None = None,
    group: str | None = None,
    split: str | None = None,
    id: str | None = None,
    features_prefix: str | Sequence[str] = (),
    pattern: str | None = None,
    standardise: Standardisation | None = None,
    taxol: Taxol = "all",
    ties: Ties = "nearest",
    cyclops_labels: CyclopsLabels = "clean",
    probe: bool = True,
    seed: int = 0,
    model: str | None = None,
    preprocess: str = "",
    input_size: int | Literal["native"] | None = None,
    cache: str | PathLike[str] | None = None,
    engine: str = "auto",
    workers: int | None = None,
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Score features, or a network, on a task or on your own labelled images.

    Parameters
    ----------
    task : str, path, Task, ImageTable or None
        "bbbc021", "coos7", "cyclops", or your own images: a table (.csv, .tsv, .parquet), a folder or a .zip, see
        docs/your-own-images.md. None: the table of features contains the labels.
    features : str, path, DataFrame, FeatureTable or network
        A table: one row per image or cell (column `id`), or for BBBC021 per well (`Metadata_Plate`, `Metadata_Well`) or
        treatment (`compound`, `concentration`). Other columns of numbers are features, except those that only describe
        a sample, such as `time`: `Result.entries` name them under `remarks`. See `tables.feature_table`.
        Or a network: `imagenet`, `random`, a training run, a model of `transformers`, or a module from `load_backbone`.
    metadata : path or Samples, optional
        The folder of the task, which contains the labels. Without it the table must contain them: `label`, for COOS-7
        also `split`, for BBBC021 also `compound` and `concentration`.
    label, group, split, id : str, optional
        Of your own images or table: columns that are not called so. Samples of one group are never on both sides of a
        fold; where there is a split, the classifiers are fitted on `train`.
    features_prefix : str or sequence of str
        Of a table: how the names of features start. Then all other columns are no features.
    pattern : str, optional
        For your own images without a table, see `extract_features`.
    standardise : str, optional
        How features are brought to one scale; see `scores.standardise.MEANING`. The publication used "all" for BBBC021
        and CYCLoPs and "train" for COOS-7. By default "train" (the training part of each fold) for your own images,
        the published one for a network, and "none" for a table.
    taxol, ties, cyclops_labels, probe, seed
        See `protocols.settings.EvaluationSettings`.
    model : str, optional
        Name of the features in the report; by default that of the network, or "features".
    preprocess : str
        Of a network: which view of an image it is shown, by default "concat-norm", see `extract_features`. Of a table:
        any text for the report.
    input_size : int or "native", optional
        Of a network: side in pixels to which images are resized. By default 224 for your own images, else native.
    cache : path, optional
        Of a network: folder that stores computed features. By default nothing is kept.
    engine, workers
        Of a network: see `extract_features`.
    about : mapping, optional
        Further settings of the features (input size, weights ...), stored with each score.

    Returns
    -------
    Result
        `.scores["nsc"]`, `.to_frame()`, `.summary()`.

    Raises
    ------
    UsageError
        If a setting is unknown, there is no such input or network, or the table does not match the samples.
    MetadataError
        If the metadata differs from what its publisher describes.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"id": list("abcdef"), "label": list("xxxyyy"), "f": [0.0, 1, 2, 10, 11, 12]})
    >>> float(evaluate("cyclops", table, probe=False).scores["knn"])  # of 5 other cells, 3 have the other label
    0.0

    Cells of three donors; each donor is classified by the others:

    >>> cells = pd.DataFrame({"label": list("xyxyxy"), "donor": list("aabbcc"), "f": [0.0, 9, 1, 8, 0, 9]})
    >>> knn = evaluate(None, cells, label="label", group="donor", probe=False).scores["knn"]
    >>> knn.correct, knn.n, knn.settings["folds"]
    (6, 6, 'leave one of 3 groups out')
    """
    settings = EvaluationSettings(
        standardise=standardise, taxol=taxol, ties=ties, cyclops_labels=cyclops_labels, probe=probe, seed=seed
    )
    prefixes = (features_prefix,) if isinstance(features_prefix, str) else tuple(features_prefix)
    columns = Columns(label, group, split, id, prefixes)
    chosen, samples, own = _task_and_samples(task, metadata, columns, pattern)
    if is_table(features):
        if chosen is None or own:
            name = Path(features).name.split(".")[0] if isinstance(features, str | PathLike) else "samples"
            given = own_tables({name: features}, columns, (own.task, own.samples) if own else None)
            _, features, chosen, samples = next(given)
        return score_features(
            chosen,
            read_table(features, prefixes=prefixes),
            samples,
            settings,
            model=model or "features",
            preprocess=preprocess,
            about={**about_prefixes(prefixes), **(about or {})},
        )
    if prefixes:
        raise UsageError("features_prefix names columns of a table, and features are those of a network")
    if chosen is None:
        raise UsageError("A network needs images", next="Name a task, or a table, folder or zip of your own images")
    from .networks import score_network

    return score_network(
        chosen,
        samples,
        features,
        settings,
        own=own,
        model=model,
        preprocess=preprocess or "concat-norm",
        size=input_size,
        cache=cache,
        engine=engine,
        workers=workers,
        about=about or {},
    )


def _task_and_samples(
    task: str | PathLike[str] | Task | ImageTable | None,
    metadata: str | PathLike[str] | Samples | None,
    columns: Columns,
    pattern: str | None,
) -> tuple[Task | None, str | PathLike[str] | Samples | None, OwnImages | None]:
    """Return the task (None: that of a table), its folder or samples, and the images if they are a user's own."""
    if isinstance(task, Task) or (isinstance(task, str) and task in TASKS):
        if columns.named or pattern:
            given = ", ".join([*columns.named, *(["pattern"] if pattern else [])])
            raise UsageError(f"{given} can only be used with your own images or tables", where=find(task).name)
        return find(task), metadata, None
    if metadata is not None:
        raise UsageError("`metadata` is the folder of a task of the preprint; your own images have their labels")
    if task is None:
        return None, None, None
    if isinstance(task, str) and "://" not in task and not Path(task).exists():
        raise UsageError(
            f"There is no task, file or folder {task!r}",
            next=f"The tasks are {', '.join(TASKS)}; your own images are a table, a folder or a .zip",
        )
    from .own_images import own_images

    own = own_images(task, columns, pattern=pattern)
    return own.task, own.samples, own
