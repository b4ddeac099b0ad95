"""Write a network as an ONNX file that takes grey images as they are, and check the file against the network."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from ..builder.errors import CheckFailedError, UsageError
from ..builder.extras import require
from .head import remove_head
from .model import Backbone, load_classifier
from .model_names import resolve
from .normalisation import PREPROCESSOR, for_channels, read_normalisation, read_size

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-3  # largest difference of the outputs, in parts of their largest absolute value
_IMAGES = 2  # of the batch with which the network is traced and the file is checked
Output = Literal["features", "scores"]


class Exported(NamedTuple):
    """An ONNX file that was written.

    Parameters
    ----------
    path : Path
    size : int
        Side of its images in pixels.
    columns : int
        Number of features or classes of its output.
    difference : float
        Largest difference from the outputs of torch for random images, in parts of the largest absolute value.
    """

    path: Path
    size: int
    columns: int
    difference: float


class _FromGrey(nn.Module):
    """Takes grey bytes, shape (N, 1, H, W), instead of RGB images in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.to(torch.float32) / 255
        return self.network(pixels.expand(-1, 3, -1, -1))


def export(
    run: str | PathLike[str], out: str | PathLike[str], *, output: Output = "features", size: int | None = None
) -> Exported:
    """Write the network of a run as an ONNX file, and compare it with torch.

    The file has one input, `images`: uint8, shape (N, 1, size, size), grey values from 0 to 255, for any N. Division by
    255, the copy to three channels and the normalisation are part of the file.

    Parameters
    ----------
    run : str or path
        A run folder, another model folder, or the name of an image classifier on the Hub.
    out : str or path
        The file to write, for example `model.onnx`.
    output : {"features", "scores"}
        The output: features, shape (N, D), float32, or the scores (logits) of the classes. Class names are in the
        file's metadata under `classes`, one per line.
    size : int, optional
        Side of the images in pixels; by default that of the training.

    Raises
    ------
    UsageError
        If there is no such model; `MissingPackageError` if the packages of the extra `[onnx]` are not installed.
    CheckFailedError
        If the outputs of the file differ from those of torch. No file is written then.

    Examples
    --------
    >>> export("runs/first", "first.onnx").columns                                            # doctest: +SKIP
    1280
    """
    require(*PACKAGES)
    path = Path(out)
    if not path.parent.is_dir():
        raise UsageError("There is no such folder", where=path.parent, next="Create it, or name another file")
    classifier = load_classifier(run)
    where = resolve(run).where
    normalisation = for_channels(read_normalisation(where), classifier)
    size = size or read_size(where)
    if size is None:
        raise UsageError(f"The size of the images is not in {PREPROCESSOR}", where=run, next="Give it: --size PIXELS")
    names = [str(name) for name in classifier.config.id2label.values()]  # type: ignore[union-attr, operator]
    if output == "features":
        remove_head(classifier)
    network = _FromGrey(Backbone(classifier, *normalisation)).eval()
    images = torch.randint(0, 256, (_IMAGES, 1, size, size), generator=torch.Generator().manual_seed(0)).byte()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".cytoimagenet-export-") as folder:
        temporary = Path(folder) / path.name
        _write(network, images, temporary, output)
        _describe(temporary, names if output == "scores" else [])
        columns, difference = _compare(network, images, temporary)
        if not difference <= TOLERANCE:
            raise CheckFailedError(
                f"The outputs of the ONNX file differ from those of torch by {difference:.1e} of the largest value",
                where=run,
                next="Report the network with which this happens; the file was not written",
            )
        os.replace(temporary, path)
    return Exported(path, size, columns, difference)


def _write(network: nn.Module, images: torch.Tensor, path: Path, output: Output) -> None:
    """Trace a network with a batch of images and write the graph."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network,
                (images,),
                str(path),
                input_names=["images"],
                output_names=[output],
                dynamic_shapes={"images": {0: torch.export.Dim("images_per_batch")}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UsageError(f"This network can't be written as ONNX: {reason}", where=path) from error


def _describe(path: Path, classes: list[str]) -> None:
    """Add what the numbers mean to the metadata of the file."""
    import onnx

    model = onnx.load(path)
    facts = {"input": "grey images, uint8, 0 to 255; scaling and normalisation are part of the graph"}
    if classes:
        facts["classes"] = "\n".join(classes)
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _compare(network: nn.Module, images: torch.Tensor, path: Path) -> tuple[int, float]:
    """Return the number of outputs, and their largest difference from torch in parts of the largest absolute value.

    The batch of the comparison has another number of images than that of the trace.
    """
    import onnxruntime

    more = torch.cat([images, images.flip(-1)[:1]])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": more.numpy()})
    with torch.no_grad():
        expected = network(more).numpy()
    if found.shape != expected.shape:
        return expected.shape[1], float("inf")
    largest = float(np.abs(expected).max())
    return expected.shape[1], float(np.abs(found - expected).max()) / (largest or 1.0)
