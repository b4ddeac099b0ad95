"""The built wheel, installed in an environment without the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile

import pytest

PACKAGES = ("builder", "loaders", "training", "eval")


@pytest.fixture(scope="session")
def wheel(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(checkout)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def python(wheel, tmp_path_factory):
    """A Python with the wheel and the libraries of this environment, but without the checkout."""
    home = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    # install with the clean interpreter before it gets the libraries: otherwise pip would replace the editable install
    # among them
    python = str(home / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True)
    site = next((home / "lib").glob("python*/site-packages"))
    # a line with a path adds the libraries; the .pth file of an editable install in that folder is not read
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "python"


@pytest.fixture
def hostile(tmp_path):
    """A working directory with packages of the same names as ours, and data folders named like libraries."""
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(f"raise SystemExit('the wrong {package}')")
    for name in ("datasets", "cytoimagenet", "torch"):
        (tmp_path / name).mkdir()
    return tmp_path


def run(*command, cwd):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_files_are_below_one_name(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "cytoimagenet",
        next(n for n in names if "dist-info" in n).split("/")[0],
    }
    expected = {"cytoimagenet/__init__.py", "cytoimagenet/py.typed", "cytoimagenet/dataset_card.md"}
    expected |= {"cytoimagenet/builder/pages/templates/classes.html", "cytoimagenet/eval/report/templates/report.html"}
    assert expected | {f"cytoimagenet/{package}/__init__.py" for package in PACKAGES} <= set(names)


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
    for package in ("datasets", "torch"):  # the command does not import from the working directory
        (hostile / package / "__init__.py").write_text(f"raise SystemExit('the wrong {package}')")
    command = python.parent / "cytoimagenet"
    assert "train" in run(command, "--help", cwd=hostile)
    assert len(json.loads(run(command, "sources", "--json", cwd=hostile))) == 40


def test_the_script_runs_from_a_bare_checkout(checkout, hostile):
    """`python eval/run_all.py`: neither its folder nor the working directory may be first on the import path."""
    printed = run(sys.executable, checkout / "eval" / "run_all.py", "--help", cwd=hostile)
    assert "--tasks" in printed
