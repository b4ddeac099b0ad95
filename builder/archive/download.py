"""Download the published archive from Kaggle."""

from __future__ import annotations

from typing import TypeGuard

from ..errors import CytoImageNetError
from ..extras import naming_the_extra

KAGGLE_DATASET = "stanleyhua/cytoimagenet"


def download(owner_name: str = KAGGLE_DATASET) -> str:
    """Download the published archive with kagglehub and return its folder.

    kagglehub stores it in its own cache; a second call continues an interrupted download.

    Raises
    ------
    MissingPackageError
        If the extra `[kaggle]` is not installed.
    CytoImageNetError
        If Kaggle can't be reached or refuses; the error describes the download by hand.
    """
    with naming_the_extra():
        import kagglehub
        from kagglehub import exceptions as kaggle_errors
    # OSError: no network, no disk space, and every answer of the server that is an error
    failures: tuple[type[Exception], ...] = (OSError, *filter(_is_error, vars(kaggle_errors).values()))
    try:
        return str(kagglehub.dataset_download(owner_name))
    except failures as error:
        raise CytoImageNetError(
            f"Kaggle did not give the archive: {(str(error).splitlines() or [type(error).__name__])[0]}",
            where=f"https://www.kaggle.com/datasets/{owner_name}",
            next="Run it again to continue, or download the zip by hand and name it instead of --download",
        ) from error


def _is_error(kind: object) -> TypeGuard[type[Exception]]:
    return isinstance(kind, type) and issubclass(kind, Exception)
