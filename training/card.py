"""The model card: what was trained on what, how, and with what result; made from the run's own files."""

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

{model}, trained with the recipe `{recipe}` to tell {classes:,} weak labels of microscopy images apart. Its use is not
the labels but the features before the head: turn crops of cells into vectors and compare those.

| | |
|---|---|
| dataset | digest `{digest}`, {train:,} training and {validation:,} validation images |
| input | grey images, copied to three channels, {size} x {size} px, values / 255{normalised} |
| code | {revision} |
| libraries | {versions} |
| processes | {processes} |

## Results after {epochs} epochs

{scores}

Of {seen} classes with {evaluated_on} images, {nothing} have not one right answer. (The preprint reports 402 of 894 for
its model.) Class by class: `per_class.csv`.

| category | classes | nothing right | mean accuracy of a class |
|---|---|---|---|
{categories}

![Loss](loss.png)
![Accuracy](accuracy.png)
![Accuracy by class](per_class.png)

## Use

```python
from cytoimagenet.training.model import load_backbone
features = load_backbone("{folder}")(images)      # images: float (N, 3, H, W) in [0, 1] -> (N, D)
```

or, without this project, `transformers.AutoModelForImageClassification.from_pretrained("{folder}")`.

## Limits

The labels are weak: what a database says of a plate stands for every image of it, so that accuracy is low by nature and
says little of the features. Nobody looked at the images to confirm a label. Not for diagnosis, nor for claims about a
compound, a gene or a cell line; what the network does on other microscopes and stains has to be tried.

The images come from several public databases and carry the licences of their sources, which may not all allow every use
of what was learnt from them: see the dataset's card and the column `licence` of its table.

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
        As `run.json` holds them, with `metrics` and `classes_summary`.
    table : DataFrame
        Of epochs.
    """
    summary, metrics = facts["classes_summary"], facts["metrics"]
    # cards are published: of a folder of this machine its name is enough
    chosen = replace(
        chosen, cache_dir=None, model=Path(chosen.model).name if Path(chosen.model).is_dir() else chosen.model
    )
    named = [
        ("training accuracy (augmented images)", "train_accuracy"),
        ("validation accuracy", "validation_accuracy"),
        ("validation, label among the first seven", "validation_top7"),
    ]
    scores = (
        "| score | |\n|---|---|\n"
        + "\n".join(f"| {words} | {metrics[name]:.2%} |" for words, name in [*named] if name in metrics)
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
        normalised="" if chosen.model == "efficientnet-b0" else ", normalised as `preprocessor_config.json` says",
        revision=f"commit `{facts['revision']}`" if facts["revision"] else "installed package",
        versions=", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        processes=facts["processes"],
        epochs=len(table),
        scores=scores,
        seen=summary["classes"],
        evaluated_on=facts["evaluated_on"],
        nothing=summary["nothing_right"],
        categories="\n".join(rows),
        folder=folder.name,
        settings=to_yaml(chosen),
    )
    write_atomic(folder / "README.md", text.encode())


def card_data(chosen: Settings, facts: dict[str, Any]) -> ModelCardData:
    """Make the card's metadata, as the Hub indexes them.

    Parameters
    ----------
    chosen : Settings
    facts : dict
        As for `write_card`.
    """
    from huggingface_hub import EvalResult, ModelCardData

    name = f"{chosen.model}, recipe {chosen.recipe}"
    found = [
        EvalResult(
            task_type="image-classification",
            dataset_type="cytoimagenet",
            dataset_name="CytoImageNet (weak labels)",
            dataset_split="validation",
            dataset_revision=facts["digest"],
            metric_type="accuracy",
            metric_name=words,
            metric_value=round(facts["metrics"][key], 4),
        )
        for key, words in (("validation_accuracy", "accuracy"), ("validation_top7", "label among the first seven"))
        if key in facts["metrics"]
    ]
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="image-classification",
        license=LICENCE,
        datasets=["cytoimagenet"],
        metrics=["accuracy"],
        tags=["biology", "microscopy", "bioimage", "cytoimagenet"],
        model_name=name if found else None,  # the Hub wants a name for results, and results for a name
        eval_results=found or None,
    )
