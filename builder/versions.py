"""Versions of the installed libraries, recorded with everything that depends on them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def versions_of(*names: str) -> dict[str, str]:
    """Return the version of each of these distributions that is installed, in the order of the names.

    Examples
    --------
    >>> list(versions_of("numpy", "no-such-package"))
    ['numpy']
    """
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
