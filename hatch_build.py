"""Ship the checkout's `cytoimagenet.py` as the package's `__init__.py`."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MOVED = {
    "cytoimagenet.py": "cytoimagenet/__init__.py",
    "dataset_card.md": "cytoimagenet/dataset_card.md",
    "builder/py.typed": "cytoimagenet/py.typed",
}


class FrontDoor(BuildHookInterface):
    """Place the front door beside its rooms in every build but an editable one, which reads the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the moved files to the build."""
        if version != "editable":
            build_data["force_include"].update(MOVED)
