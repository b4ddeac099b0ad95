"""The built wheel, installed where nothing of the checkout can be seen."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile

import pytest

ROOMS = ("builder", "loaders", "training", "eval")


@pytest.fixture(scope="session")
def wheel(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(checkout)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def python(wheel, tmp_path_factory):
    """A Python that has the wheel and this environment's libraries, but not the checkout."""
    home = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    # by the clean environment's own interpreter, before it can see the libraries: pip would else take the editable
    # install among them for the one to replace
    python = str(home / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True)
    site = next((home / "lib").glob("python*/site-packages"))
    # a plain path line adds the libraries; the .pth file of an editable install in there is not followed
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "python"


@pytest.fixture
def hostile(tmp_path):
    """A working directory with rooms of its own, and data folders named like libraries."""
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text(f"raise SystemExit('the wrong {room}')")
    for name in ("datasets", "cytoimagenet", "torch"):
        (tmp_path / name).mkdir()
    return tmp_path


def run(*command, cwd):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_lies_under_one_name(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "cytoimagenet",
        next(n for n in names if "dist-info" in n).split("/")[0],
    }
    held = {"cytoimagenet/__init__.py", "cytoimagenet/py.typed", "cytoimagenet/dataset_card.md"}
    held |= {"cytoimagenet/builder/pages/templates/classes.html", "cytoimagenet/eval/report/templates/report.html"}
    assert held | {f"cytoimagenet/{room}/__init__.py" for room in ROOMS} <= set(names)


def test_the_import_is_light(python, hostile):
    heavy = "[m for m in ('torch', 'datasets', 'pandas') if m in sys.modules]"
    code = f"import sys, cytoimagenet; print(cytoimagenet.__file__, {heavy})"
    printed = run(python, "-c", code, cwd=hostile)
    assert "site-packages/cytoimagenet/__init__.py" in printed
    assert printed.strip().endswith("[]")


def test_every_public_name_is_there(python, hostile):
    code = "import cytoimagenet as c; print(sorted(n for n in c.__all__ if getattr(c, n, None) is None))"
    assert run(python, "-c", code, cwd=hostile).strip() == "[]"


def test_the_command_works_in_a_hostile_folder(python, hostile):
    for room in ("datasets", "torch"):  # the command never looks into the working directory, packages or not
        (hostile / room / "__init__.py").write_text(f"raise SystemExit('the wrong {room}')")
    command = python.parent / "cytoimagenet"
    assert "train" in run(command, "--help", cwd=hostile)
    assert len(json.loads(run(command, "sources", "--json", cwd=hostile))) == 40


def test_the_script_runs_from_a_bare_checkout(checkout, hostile):
    """`python eval/run_all.py`: its own folder must not stand first on the path, nor the working directory."""
    printed = run(sys.executable, checkout / "eval" / "run_all.py", "--help", cwd=hostile)
    assert "--tasks" in printed
