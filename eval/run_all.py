"""Run the evaluation from a checkout: `python eval/run_all.py` is `cytoimagenet eval`."""

import sys
from pathlib import Path

# Python put this folder first on its path, where a module of ours could be taken for one of a library's. The checkout's
# root takes its place (or, installed, the folder the package lies in): so this runs from any working directory.
_room = Path(__file__).resolve().parent
_root = _room.parent if (_room.parent / "cytoimagenet.py").is_file() else _room.parent.parent
if sys.path and Path(sys.path[0] or ".").resolve() == _room:
    sys.path[0] = str(_root)
else:
    sys.path.insert(0, str(_root))


def main() -> None:
    """Run the command as `cytoimagenet eval` does, errors and all."""
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
