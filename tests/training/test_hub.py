"""Upload a model and read it back with the real client of the Hub, against a simulated Hub on loopback.

The client reads its environment variables at import, so uploading and reading back run in a separate Python process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.training.push import MODEL_FILES, REPORT_FILES, files_to_push, push_model
from cytoimagenet.training.train import train
from huggingface_hub import ModelCard

_path = Path(__file__).parents[1] / "builder" / "hf" / "hub_server.py"
_spec = importlib.util.spec_from_file_location("hub_server_of_models", _path)
assert _spec
assert _spec.loader
hub_server = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = hub_server
_spec.loader.exec_module(hub_server)

REPOSITORY = "me/small"
SCORES = "- dataset: {id: lab/tasks, task_id: cyclops_knn}\n  value: 41.5\n"
CODE = """
import json, sys, torch
from cytoimagenet import main
run = sys.argv[1]
sys.argv = ["cytoimagenet", "push-model", run, "me/small", "--json"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
from transformers import AutoModelForImageClassification
from cytoimagenet import load_backbone
stock = AutoModelForImageClassification.from_pretrained("me/small")
images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
here, there = load_backbone(run), load_backbone("me/small")
assert torch.equal(here(images), there(images))
print(json.dumps(stock.config.id2label))
"""


@pytest.fixture(scope="module")
def run(small_dataset, small_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pushed") / "run"
    train(small_dataset, folder, model=small_model, size=32, epochs=1, batch_size=54, workers=0, labels="toy20")
    return folder


def test_a_model_is_uploaded_with_its_card_and_read_back(run, tmp_path):
    (run / "checkpoint-7").mkdir()  # a checkpoint that remained
    (run / "checkpoint-7" / "optimizer.pt").write_bytes(b"moments")
    (run / ".eval_results").mkdir()
    (run / ".eval_results" / "cyclops-concat-norm.yaml").write_text(SCORES)
    with hub_server.HubServer() as hub:
        environment = {
            "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(run)], capture_output=True, text=True, env={**os.environ, **environment}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        *printed, last = done.stdout.splitlines()
        pushed, names = json.loads("\n".join(printed)), json.loads(last)
        files = hub.repositories[REPOSITORY].commits[pushed["commit"]]
    scores = ".eval_results/cyclops-concat-norm.yaml"
    assert set(files) == {*MODEL_FILES, *REPORT_FILES, scores} == set(pushed["files"])
    assert all(content == (run / name).read_bytes() for name, content in files.items())
    assert sorted(names.values()) == ["actin", "human"]
    assert not any(str(run.parents[1]).encode() in content for content in files.values()), "no paths of this machine"
    (run / "checkpoint-7" / "optimizer.pt").unlink()
    (run / "checkpoint-7").rmdir()


def test_the_card_is_what_the_hub_indexes(run):
    card = ModelCard.load(run / "README.md")
    facts = json.loads((run / "run.json").read_text())
    assert card.data.license == "other"
    assert card.data.library_name == "transformers"
    assert card.data.datasets == ["cytoimagenet"]
    assert card.data.eval_results is None, "scores are in .eval_results, where the Hub reads them"
    assert f"| validation accuracy | {facts['metrics']['validation_accuracy']:.2%} |" in card.text
    assert facts["digest"] in card.text
    assert "labels are weak" in card.text
    assert "licences of their sources" in card.text


def test_an_unfinished_model_is_not_uploaded(run, tmp_path):
    with pytest.raises(UsageError, match="OWNER/NAME"):
        push_model(run, "no-owner")
    with pytest.raises(UsageError, match=r"config\.json, model\.safetensors"):
        files_to_push(tmp_path)
    (tmp_path / "run.json").write_text('{"finished": false}')
    with pytest.raises(UsageError, match="not finished"):
        push_model(tmp_path, REPOSITORY)


@pytest.mark.parametrize("content", ["{", "- 1", "- value: 1", "- dataset: {id: x, task_id: y}", "text", "\xff", ""])
def test_scores_that_the_hub_would_not_read_are_refused(content, tmp_path):
    for name in MODEL_FILES:
        (tmp_path / name).touch()
    assert files_to_push(tmp_path) == MODEL_FILES
    (tmp_path / ".eval_results").mkdir()
    (tmp_path / ".eval_results" / "x.yaml").write_text(SCORES)
    assert files_to_push(tmp_path)[-1] == ".eval_results/x.yaml"
    (tmp_path / ".eval_results" / "y.yaml").write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match="not a file of scores"):
        files_to_push(tmp_path)
