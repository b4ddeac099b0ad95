"""The commands of the training room: train, convert-weights, push-model. Heavy imports stay inside them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..builder import console

TRAIN_EXAMPLES = """
Examples:

  cytoimagenet train cytoimagenet/ --out runs/first --recipe quick

  cytoimagenet train cytoimagenet/ --recipe paper --labels toy20 --epochs 24

  cytoimagenet train cytoimagenet/ --out runs/first --resume

  torchrun --no-python --nproc-per-node 4 cytoimagenet train cytoimagenet/ --recipe modern --set batch_size=256
"""

CONVERT_EXAMPLES = """
Examples:

  cytoimagenet convert-weights efficientnetb0_weights-notop.h5 models/published

  cytoimagenet features --model models/published --tasks bbbc021 --data evaldata --out features.parquet
"""

PUSH_EXAMPLES = """
Examples:

  cytoimagenet push-model runs/first me/cytoimagenet-efficientnet-b0

  cytoimagenet push-model runs/first me/cytoimagenet-efficientnet-b0 --private
"""


def add_to(app: typer.Typer) -> None:
    """Add this room's commands to the application."""
    app.command("train", epilog=TRAIN_EXAMPLES)(train)
    app.command("convert-weights", epilog=CONVERT_EXAMPLES)(convert_weights)
    app.command("push-model", epilog=PUSH_EXAMPLES)(push_model)


def train(
    data_dir: Annotated[str, typer.Argument(metavar="DIR", help="Dataset folder, local or a URL.")],
    out: Annotated[str | None, typer.Option(help="Run folder; else runs/<recipe>-<digest of the dataset>.")] = None,
    recipe: Annotated[str, typer.Option(help="paper, modern, quick, or a .yaml file of settings.")] = "quick",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, by its own settings.")] = False,
    category: Annotated[str | None, typer.Option(help="Train on the classes of one category.")] = None,
    labels: Annotated[
        list[str] | None, typer.Option(help="Train on this class; repeat it. Or toy20 or toy50, the authors' subsets.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Train on the images of one database.")] = None,
    model: Annotated[
        str | None, typer.Option(help="efficientnet-b0, imagenet, or a folder or Hub name of a classifier.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the input in pixels.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that decode.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; repeat it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print folder and scores for machines.")] = False,
) -> None:
    """Train a classifier, or go on with a training that was cut off.

    The same command again goes on where it stopped, and ends with the same weights to the bit. The run folder holds
    the model, settings, history, plots, a table of classes and a model card.
    """
    from ..loaders.processes import place
    from .recipes import parse
    from .train import train as run

    chosen: dict[str, Any] = {
        "category": category, "source": source, "model": model, "epochs": epochs, "size": size, "seed": seed,
        "workers": workers, "labels": _labels(labels),
    }  # fmt: skip
    changes = {**parse(assignments or []), **{name: value for name, value in chosen.items() if value is not None}}
    done = run(data_dir, out, recipe=recipe, resume=resume, **changes)
    if place()[0]:  # of several processes one speaks
        return
    if as_json:
        console.emit({"run": str(done.folder), "metrics": done.metrics})
        return
    console.out.print(f"Trained: {done.folder}", markup=False)
    for name, value in done.metrics.items():
        console.out.print(f"  {name:<20} {value:.4g}", markup=False)


def convert_weights(
    file: Annotated[str, typer.Argument(metavar="FILE.h5", help="Keras weights of an EfficientNet-B0.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Model folder to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the folder for machines.")] = False,
) -> None:
    """Turn Keras weights (the authors' published ones, or ImageNet's) into a model folder.

    The features are the same to a relative 1e-4; a head, if there is one, is left out.
    """
    from .convert import convert

    folder = convert(file, out)
    if as_json:
        console.emit({"model": str(folder)})
    else:
        console.out.print(f"Converted: {folder}", markup=False)


def push_model(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="A finished run folder.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A model repository on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print repository, commit and files for machines.")] = False,
) -> None:
    """Upload a trained model to the Hub: weights, card, history and plots; no checkpoints and no paths of this machine.

    Then `transformers.AutoModelForImageClassification.from_pretrained("OWNER/NAME")` reads it.
    """
    from dataclasses import asdict

    from .push import push_model as push

    done = push(folder, repository, private=private)
    if as_json:
        console.emit(asdict(done))
        return
    console.out.print(f"{done.repository}: {len(done.files)} files (commit {done.commit[:12]})", markup=False)
    console.out.print(f"Use it with: cytoimagenet features --model {done.repository} ...", markup=False)


def _labels(labels: list[str] | None) -> str | list[str] | None:
    return labels[0] if labels and labels in (["toy20"], ["toy50"]) else labels or None
