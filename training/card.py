"""Write the model card of a training run: model, data, settings, results and limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..builder.pages.card import LICENCE
from ..builder.storage import write_atomic
from .recipes import Settings, to_yaml

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

CARD = """---
{metadata}
---
# {model}, trained on CytoImageNet

{model}, trained with the recipe `{recipe}` to classify microscopy images by {classes:,} weak labels. Use it for the
features before its last layer, not for the labels: it turns an image of cells into a vector, and vectors can be
compared.

| | |
|---|---|
| dataset | digest `{digest}`, {train:,} training and {validation:,} validation images |
| input | grey images, copied to three channels, {size} x {size} px, values / 255{normalised} |
| code | {revision} |
| libraries | {versions} |
| processes | {processes} |
| weights | {weights} |

## Results after {epochs}

{scores}

Of {seen} classes with {evaluated_on} images, {nothing} have no right answer. (The preprint reports 402 of 894 for its
model.) The results of each class are in `per_class.csv`.

| category | classes | without a right answer | mean accuracy of the classes |
|---|---|---|---|
{categories}

![Loss](loss.png)
![Accuracy](accuracy.png)
![Accuracy by class](per_class.png)

## Use

```python
from cytoimagenet import load_backbone

features = load_backbone("{folder}")(images)      # images: float (N, 3, H, W) in [0, 1] -> (N, D)
```

or, without the package `cytoimagenet`, `transformers.AutoModelForImageClassification.from_pretrained("{folder}")`.

## Limits

The labels are weak: a text that a database gives for a plate or well is used for every image of it, and nobody looked
at the images to confirm it. Accuracy is therefore low and says little about the quality of the features. Do not use the
model for diagnosis, or to support claims about a compound, a gene or a cell line. Test it first on images of other
microscopes and stains.

The images come from several public databases and carry the licences of their sources. Not every licence may allow every
use of a model trained on the images: see the dataset card and the column `licence` of its table.

## Settings

```yaml
{settings}```
"""


def write_card(folder: Path, chosen: Settings, facts: dict[str, Any], table: pd.DataFrame) -> None:
    """Write `README.md` of a run folder.

    Parameters
    ----------
    folder : Path
    chosen : Settings
    facts : dict
        The contents of `run.json`, with `metrics`, `classes_summary` and `evaluated_on`.
    table : DataFrame
        The table of epochs, see `run_folder.history`.
    """
    summary, metrics = facts["classes_summary"], facts["metrics"]
    # cards are published: they must not contain paths of this machine
    chosen = replace(
        chosen, cache_dir=None, model=Path(chosen.model).name if Path(chosen.model).is_dir() else chosen.model
    )
    named_scores = [
        ("training accuracy (augmented images)", "train_accuracy"),
        ("validation accuracy", "validation_accuracy"),
        ("validation, answer is any right label of the image", "validation_accuracy_any_label"),
        ("validation, label among the seven most probable", "validation_top7"),
    ]
    scores = (
        "| score | |\n|---|---|\n"
        + "\n".join(f"| {words} | {metrics[name]:.2%} |" for words, name in named_scores if name in metrics)
        + f"\n| chance | {1 / facts['classes']:.2%} |"
    )
    rows = [
        f"| {name.replace('_', ' ')} | {part['classes']} | {part['nothing_right']} | {part['accuracy']:.1%} |"
        for name, part in summary["categories"].items()
    ]
    text = CARD.format(
        metadata=card_data(chosen, facts).to_yaml(),
        model="EfficientNet-B0" if chosen.model == "efficientnet-b0" else chosen.model,
        recipe=chosen.recipe,
        classes=facts["classes"],
        digest=facts["digest"],
        train=facts["images"]["train"],
        validation=facts["images"]["validation"],
        size=chosen.size,
        normalised="" if chosen.model == "efficientnet-b0" else ", normalised as in `preprocessor_config.json`",
        revision=f"commit `{facts['revision']}`" if facts["revision"] else "installed package",
        versions=", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        processes=facts["processes"],
        weights=_weights(chosen, facts, epochs=len(table)),
        epochs="1 epoch" if len(table) == 1 else f"{len(table)} epochs",
        scores=scores,
        seen=summary["classes"],
        evaluated_on=facts["evaluated_on"],
        nothing=summary["nothing_right"],
        categories="\n".join(rows),
        folder=folder.name,
        settings=to_yaml(chosen),
    )
    write_atomic(folder / "README.md", text.encode())


def _weights(chosen: Settings, facts: dict[str, Any], *, epochs: int) -> str:
    """Return which epoch the weights are of."""
    text = f"of epoch {facts['kept_epoch']} of {epochs}"
    if epochs < chosen.epochs:
        text += f"; training stopped early, {chosen.epochs} epochs were planned"
    return text + (", the highest validation accuracy" if chosen.keep == "best" else "")


def card_data(chosen: Settings, facts: dict[str, Any]) -> ModelCardData:
    """Return the metadata of the card, which the Hub indexes.

    Parameters
    ----------
    chosen : Settings
    facts : dict
        See `write_card`.
    """
    from huggingface_hub import ModelCardData

    return ModelCardData(
        library_name="transformers",
        pipeline_tag="image-classification",
        license=LICENCE,
        datasets=["cytoimagenet"],
        metrics=["accuracy"],
        tags=["biology", "microscopy", "bioimage", "cytoimagenet"],
    )
