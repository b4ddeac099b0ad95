"""Run the evaluation from a checkout: `python eval/run_all.py` is `cytoimagenet eval`."""

import sys
from pathlib import Path

# Python puts the folder of this script first on its path, where our modules could hide those of a library. The root of
# the checkout (or, if installed, the folder that contains the package) replaces it: the script runs from any folder.
_folder = Path(__file__).resolve().parent
_root = _folder.parent if (_folder.parent / "cytoimagenet.py").is_file() else _folder.parent.parent
if sys.path and Path(sys.path[0] or ".").resolve() == _folder:
    sys.path[0] = str(_root)
else:
    sys.path.insert(0, str(_root))


def main() -> None:
    """Run the command as `cytoimagenet eval` does, with the same error messages."""
    import typer
    from cytoimagenet.builder import console
    from cytoimagenet.eval.commands import run

    app = typer.Typer(
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        add_completion=False,
    )
    run.add_to(app)
    console.run(app)


if __name__ == "__main__":
    main()
