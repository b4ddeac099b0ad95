"""The hook waits for `datasets`, is installed once, can be removed, and leaves unknown versions alone."""

import inspect
import subprocess
import sys
import warnings

import cytoimagenet  # noqa: F401 - installs the hook
import datasets
import pytest
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.hf import hook


@pytest.fixture(autouse=True)
def _leave_it_installed(monkeypatch):
    yield
    monkeypatch.undo()
    hook.install()


def functions():
    return datasets.load.dataset_module_factory, datasets.inspect.dataset_module_factory


def test_this_version_of_datasets_is_one_the_hook_knows():
    advice = (
        f"datasets {datasets.__version__} changed the private function that load_dataset('cytoimagenet') needs. "
        "Look at datasets.load.load_dataset_builder and builder/hf/hook.py; until that is mended, "
        "pin the last version that worked in pyproject.toml. cytoimagenet.load_dataset(...) needs no hook."
    )
    hook.uninstall()
    assert hook.unfit(datasets.__version__) == "", advice
    for function in functions():
        parameters = inspect.signature(function).parameters
        assert list(parameters)[:2] == ["path", "revision"], advice
        assert {"data_dir", "data_files"} <= set(parameters), advice
    called = inspect.getsource(datasets.load.load_dataset_builder)
    assert "dataset_module_factory(\n" in called, advice
    fields = {"module_path", "hash", "builder_kwargs"}
    assert fields <= set(inspect.signature(datasets.load.DatasetModule).parameters), advice


def test_in_and_out_again():
    hook.uninstall()
    own = functions()
    assert not any(hasattr(function, "_before_cytoimagenet") for function in own)
    hook.install()
    hook.install()
    assert all(function._before_cytoimagenet in own for function in functions())
    hook.uninstall()
    hook.uninstall()
    assert functions() == own


def test_out_means_that_the_name_is_left_to_datasets(small_dataset, monkeypatch):
    monkeypatch.chdir(small_dataset.parent)
    hook.uninstall()
    assert datasets.load_dataset("cytoimagenet", split="validation").column_names == ["png", "cls", "json"]
    hook.install()
    assert datasets.load_dataset("cytoimagenet", split="validation").column_names[:2] == ["image", "label"]


def test_other_names_pass_through_untouched(small_dataset, tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert datasets.load_dataset("csv", data_files=str(tmp_path / "a.csv"), split="train")[0] == {"x": 1}


@pytest.mark.parametrize("streaming", [False, True])
def test_the_path_of_a_folder_gives_image_and_label(small_dataset, monkeypatch, streaming):
    monkeypatch.chdir(small_dataset.parent)
    for path in (str(small_dataset), f"{small_dataset}/", "./cytoimagenet"):
        rows = datasets.load_dataset(path, split="validation", streaming=streaming)
        assert rows.column_names[:2] == ["image", "label"]
        assert rows.features["label"].names == list(Manifest.load(small_dataset).class_names)
    one = datasets.load_dataset(str(small_dataset), "organism", split="train", streaming=streaming)
    assert {row["label"] for row in one} == {list(Manifest.load(small_dataset).class_names).index("human")}
    assert set(datasets.get_dataset_config_names(str(small_dataset))) >= {"default", "sample", "compound"}


def test_files_and_other_folders_are_read_as_what_they_are(small_dataset, tmp_path):
    raw = datasets.load_dataset(str(small_dataset), data_files="data/validation-*.tar", split="train")
    assert {"png", "cls", "json"} <= set(raw.column_names) and "image" not in raw.column_names
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.csv").write_text("x\n1\n")
    for manifest in ("{}", "[1]", "no json", '{"format": "another"}'):
        (tmp_path / "other" / "manifest.json").write_text(manifest)
        assert datasets.load_dataset(str(tmp_path / "other"), data_files="*.csv", split="train")[0] == {"x": 1}
        assert not hook._is_dataset_folder(tmp_path / "other")
    hook.uninstall()
    assert datasets.load_dataset(str(small_dataset), split="validation").column_names == ["png", "cls", "json"]


@pytest.mark.parametrize("version", ["4.9.1", "6.0.0", "6.0.0.dev0", "", "five"])
def test_other_versions_are_left_alone_with_a_warning(version, monkeypatch):
    hook.uninstall()
    own = functions()
    monkeypatch.setattr(datasets, "__version__", version)
    with pytest.warns(UserWarning, match=r"cytoimagenet\.load_dataset"):
        hook.install()
    assert functions() == own


def test_a_version_without_the_function_is_left_alone_with_a_warning(monkeypatch):
    hook.uninstall()
    monkeypatch.delattr(datasets.inspect, "dataset_module_factory")
    with pytest.warns(UserWarning, match=r"no datasets\.inspect\.dataset_module_factory"):
        hook.install()
    assert not hasattr(datasets.load.dataset_module_factory, "_before_cytoimagenet")


def run(code, cwd):
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


IMPORTS = """
import sys
import cytoimagenet
print(*[name for name in ("datasets", "torch", "pandas", "numpy", "pyarrow", "PIL") if name in sys.modules], "none")
assert any(type(finder).__name__ == "_WaitForDatasets" for finder in sys.meta_path)
"""

WAITS = """
from datasets import load_dataset
import datasets
assert hasattr(datasets.load.dataset_module_factory, "_before_cytoimagenet")
assert hasattr(datasets.inspect.dataset_module_factory, "_before_cytoimagenet")
assert not any(type(finder).__name__ == "_WaitForDatasets" for finder in sys.meta_path)
assert "exec_module" not in vars(datasets.__spec__.loader)
print(load_dataset("cytoimagenet", split="validation").num_rows)
"""

STRANGER = """
import datasets
print(datasets.MINE)
sys.modules.pop("datasets")
"""


def test_it_imports_nothing_and_waits(small_dataset):
    assert run(IMPORTS + WAITS, small_dataset.parent) == ["none", "30"]


def test_another_package_of_that_name_is_left_alone(tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("MINE = 7\n")
    assert run(IMPORTS + STRANGER, tmp_path) == ["none", "7"]


def test_no_warning_with_a_known_version():
    hook.uninstall()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hook.install()
