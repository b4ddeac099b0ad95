"""Ship the checkout's `cytoimagenet.py` as the package's `__init__.py`."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MOVED = {
    "cytoimagenet.py": "cytoimagenet/__init__.py",
    "__main__.py": "cytoimagenet/__main__.py",
    "dataset_card.md": "cytoimagenet/dataset_card.md",
    "builder/py.typed": "cytoimagenet/py.typed",
}


class InitFromModule(BuildHookInterface):
    """Put `cytoimagenet.py` next to its packages in every build except an editable one, which uses the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the moved files to the build."""
        if version != "editable":
            build_data["force_include"].update(MOVED)
