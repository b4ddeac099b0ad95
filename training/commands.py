"""The commands `train`, `convert-weights`, `push-model` and `export`. Heavy imports are inside the functions."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ..builder import console
from ..builder.commands.options import Json, examples

TRAIN_EXAMPLES = examples(
    "cytoimagenet train cytoimagenet/ --out runs/first --recipe quick",
    "cytoimagenet train cytoimagenet/ --out runs/adapted --recipe adapt --size 128 --epochs 14",
    "cytoimagenet train cytoimagenet/ --recipe paper --labels toy20 --epochs 24",
    "cytoimagenet train cytoimagenet/ --out runs/first --resume",
    "torchrun --no-python --nproc-per-node 4 cytoimagenet train cytoimagenet/ --recipe modern --set batch_size=256",
)

CONVERT_EXAMPLES = examples(
    "cytoimagenet convert-weights efficientnetb0_weights-notop.h5 models/published",
    "cytoimagenet features --model models/published --tasks bbbc021 --data evaldata --out features.parquet",
)

PUSH_EXAMPLES = examples(
    "cytoimagenet push-model runs/first me/cytoimagenet-efficientnet-b0",
    "cytoimagenet push-model runs/first me/cytoimagenet-efficientnet-b0 --private",
)

EXPORT_EXAMPLES = examples(
    "cytoimagenet export runs/first --out first.onnx",
    "cytoimagenet export runs/first --out classes.onnx --output scores",
)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("train", epilog=TRAIN_EXAMPLES)(train)
    app.command("convert-weights", epilog=CONVERT_EXAMPLES)(convert_weights)
    app.command("push-model", epilog=PUSH_EXAMPLES)(push_model)
    app.command("export", epilog=EXPORT_EXAMPLES)(export)


def train(
    data_dir: Annotated[str, typer.Argument(metavar="DIR", help="Dataset folder: a path or a URL.")],
    out: Annotated[
        str | None, typer.Option(help="Run folder. Default: runs/<recipe>-<first 8 digits of the dataset's digest>.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="Settings to start from: adapt, paper, modern, quick, or a .yaml file.")
    ] = "quick",
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out with its own settings.")] = False,
    category: Annotated[
        str | None, typer.Option(help="Train only on the classes of this category, e.g. compound.")
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="Train only on this class; may be given several times. "
            "toy20 and toy50 are the two small label subsets of the paper's authors."
        ),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="Train only on images of this database (publisher), e.g. Recursion.")
    ] = None,
    source: Annotated[str | None, typer.Option(hidden=True)] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Network: efficientnet-b0 (random weights), imagenet (EfficientNet-Lite0 with ImageNet weights), "
            "or the folder or Hub name of an image classifier."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Number of passes over the training images.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the input images in pixels.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed for weights, image order and augmentation.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Number of threads, or above 4 of processes, that decode images. Default: by the cores. The result "
            "does not depend on it."
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Change any other setting of the recipe; may be given several times."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train an image classifier on a dataset, or resume an interrupted training run.

    To resume, run the same command again. It continues from the last checkpoint and ends with exactly the same weights.
    The run folder contains the model, its settings, the history of loss and accuracy, plots, a table of the classes
    and a model card.
    """
    from ..loaders.processes import rank_and_world
    from .recipes import FORMER_NAMES, parse_assignments, renamed
    from .train import train as train_model

    first_process = rank_and_world()[0] == 0
    options = {
        "category": category, "database": database, "source": source, "model": model, "epochs": epochs, "size": size,
        "seed": seed, "workers": workers, "labels": _labels(labels),
    }  # fmt: skip
    given = parse_assignments(assignments or []) | {name: value for name, value in options.items() if value is not None}
    if first_process and not FORMER_NAMES.keys().isdisjoint(given):
        console.err.print("Note: --source is now called --database. The old name will be removed in the next release.")
    changes = renamed(given)
    run = train_model(data_dir, out, recipe=recipe, resume=resume, **changes)
    if not first_process:
        return
    if as_json:
        console.emit({"run": str(run.folder), "metrics": run.metrics})
        return
    console.out.print(f"Trained: {run.folder}", markup=False)
    width = max(map(len, run.metrics), default=0)
    for name, value in run.metrics.items():
        console.out.print(f"  {name:<{width}} {value:.4g}", markup=False)


def convert_weights(
    file: Annotated[str, typer.Argument(metavar="FILE.h5", help="Keras weights of an EfficientNet-B0.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Model folder to write; must be new or empty.")],
    as_json: Json = False,
) -> None:
    """Convert Keras weights of EfficientNet-B0 to a model folder for this program and for transformers.

    Reads the file published with the paper, Keras' own ImageNet weights, and files of model.save_weights. Features
    agree with those of Keras to a relative 1e-4. A classification layer, if there is one, is left out.
    """
    from .convert import convert

    folder = convert(file, out)
    if as_json:
        console.emit({"model": str(folder)})
    else:
        console.out.print(f"Converted: {folder}", markup=False)


def push_model(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished training run.")],
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Model repository on the Hub; created if it does not exist.")
    ],
    private: Annotated[bool, typer.Option("--private", help="Create the repository as a private one.")] = False,
    as_json: Json = False,
) -> None:
    """Upload a trained model to the Hugging Face Hub: weights, model card, history, plots, and scores if there are any.

    Scores are those that `cytoimagenet eval --models RUN --benchmark OWNER/NAME` wrote into the folder.

    Checkpoints, and files with paths of this machine, are not uploaded. Needs a login: `hf auth login`. To read the
    model: transformers.AutoModelForImageClassification.from_pretrained("OWNER/NAME").
    """
    from dataclasses import asdict

    from .push import push_model as push

    pushed = push(folder, repository, private=private)
    if as_json:
        console.emit(asdict(pushed))
        return
    console.out.print(f"{pushed.repository}: {len(pushed.files)} files (commit {pushed.commit[:12]})", markup=False)
    console.out.print(f"Use it with: cytoimagenet features --model {pushed.repository} ...", markup=False)


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, another model folder, or a name on the Hub.")],
    out: Annotated[str, typer.Option(help="ONNX file to write, for example model.onnx.")],
    output: Annotated[
        Literal["features", "scores"],
        typer.Option(help="What the network returns: features, or scores of the classes."),
    ] = "features",
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the input images in pixels. Default: that of the training.")
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Write a trained network as an ONNX file, for programs without torch.

    The file takes grey images with values from 0 to 255. Scaling and normalisation are part of it. It is compared with
    torch before it is moved to its final name. Needs: pip install 'cytoimagenet\[onnx]'.
    """
    from ..builder.extras import require

    require("onnx")  # before torch: its extra contains all others
    from .export import export as write

    written = write(run, out, output=output, size=size)
    if as_json:
        console.emit(written._asdict())
        return
    console.out.print(
        f"{written.path}: images (N, 1, {written.size}, {written.size}), uint8 -> {output} (N, {written.columns}). "
        f"Largest difference from torch: {written.difference:.1e} of the largest value.",
        markup=False,
    )


def _labels(labels: list[str] | None) -> str | list[str] | None:
    """Return the name of a label subset if it is given alone, else the list of labels."""
    return labels[0] if labels and labels in (["toy20"], ["toy50"]) else labels or None
