"""To the Hub and back, through its real client, with a simulated Hub on loopback.

The client reads its environment when it is imported, so each step runs in a Python of its own.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cytoimagenet import read_images
from cytoimagenet.builder.dataset import manifest as manifests
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.pages.card import metadata
from cytoimagenet.builder.shards.verify import verify
from cytoimagenet.builder.shards.write import write_dataset

_spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
assert _spec
hub_server = importlib.util.module_from_spec(_spec)
sys.modules["hub_server"] = hub_server
_spec.loader.exec_module(hub_server)

REPOSITORY = "me/cytoimagenet"
CLI = str(Path(sys.executable).with_name("cytoimagenet"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_server.HubServer() as server:
        for name, value in {
            "HF_ENDPOINT": server.url,
            "HF_TOKEN": "hf_test",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_DATASETS_CACHE": str(tmp_path / "hf" / "datasets"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }.items():
            monkeypatch.setenv(name, value)
        yield server


def run(*command, code=0):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=os.environ)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def push(folder, *more, code=0):
    return run(CLI, "push", folder, REPOSITORY, *more, code=code)


def pull(*more, code=0):
    return run(CLI, "pull", REPOSITORY, *more, code=code)


@pytest.fixture
def pushed(hub, small_dataset):
    pushed_as = json.loads(push(small_dataset, "--json"))
    return hub, pushed_as


def test_push_puts_up_the_dataset_and_nothing_else(hub, small_dataset, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(small_dataset, folder)
    (folder / ".DS_Store").write_text("the Finder's own")
    hub.cut_uploads = 1
    assert "Run the same command again" in push(folder, code=1)
    pushed_as = json.loads(push(folder, "--json"))  # the same command continues
    manifest = Manifest.load(folder)
    repository = hub.repositories[REPOSITORY]
    files = repository.commits[pushed_as["commit"]]
    assert set(files) == {*manifest.files, *manifest.pages, "manifest.json"}
    assert all(content == (folder / name).read_bytes() for name, content in files.items())
    assert repository.names[pushed_as["tag"]] == pushed_as["commit"]
    assert pushed_as["tag"] == f"v{manifest.schema_version}-{manifest.digest[:8]}"
    sent = hub.uploads()
    push(folder)
    assert hub.uploads() == sent  # nothing is sent twice


def test_a_new_version_replaces_the_former_one(pushed, small_curated, tmp_path):
    """`main` has the files of one version; the tag of the former one still has its own."""
    hub, former = pushed
    repository = hub.repositories[REPOSITORY]
    repository.add({**repository.commits[former["commit"]], "eval.yaml": b"of somebody", "manifest.sig": b"former"})
    write_dataset(small_curated, tmp_path / "new", format="parquet", seed=1)
    before = len(repository.commits)
    latest = json.loads(push(tmp_path / "new", "--json"))
    manifest = Manifest.load(tmp_path / "new")
    files = repository.commits[latest["commit"]]
    assert set(files) == {*manifest.all_files, "manifest.json", "eval.yaml"}
    assert files["manifest.json"] == (tmp_path / "new" / "manifest.json").read_bytes()
    uploaded = list(repository.commits.values())[before:]
    assert [commit["manifest.json"] == files["manifest.json"] for commit in uploaded] == [False, True]
    assert repository.names[latest["tag"]] == latest["commit"] != repository.names[former["tag"]]
    pull("--out", tmp_path / "former", "--revision", former["tag"])
    pull("--out", tmp_path / "latest")
    assert Manifest.load(tmp_path / "latest").digest == manifest.digest
    verify(tmp_path / "former")
    verify(tmp_path / "latest")


def test_a_damaged_folder_is_not_pushed(hub, small_dataset, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(small_dataset, folder)
    shard = next(folder.glob("data/train-*"))
    content = bytearray(shard.read_bytes())
    content[2000] ^= 1
    shard.write_bytes(content)
    assert shard.name in push(folder, code=1)
    assert not hub.repositories
    assert "OWNER/NAME" in run(CLI, "push", small_dataset, "no-owner", code=2)


def test_pull_gives_back_what_was_pushed(pushed, small_dataset, tmp_path):
    hub, pushed_as = pushed
    assert "every byte" in pull("--out", tmp_path / "here", "--revision", pushed_as["tag"])
    assert Manifest.load(tmp_path / "here").digest == Manifest.load(small_dataset).digest
    verify(tmp_path / "here")
    before = len([r for r in hub.requests if r[0] == "GET" and r[1].endswith(".tar")])
    pull("--out", tmp_path / "here")
    assert len([r for r in hub.requests if r[0] == "GET" and r[1].endswith(".tar")]) == before


def test_a_signature_that_the_revision_does_not_have_does_not_stay(pushed, tmp_path):
    hub, pushed_as = pushed
    repository, here = hub.repositories[REPOSITORY], tmp_path / "here"
    unsigned = repository.commits[pushed_as["commit"]]
    repository.add({**unsigned, "manifest.sig": b"signature"})
    pull("--out", here)
    pull("--out", here)
    assert (here / "manifest.sig").read_bytes() == b"signature"
    repository.add({**unsigned, "eval.yaml": b"of somebody"})
    pull("--out", here)
    assert not (here / "manifest.sig").exists()


def shard_called(hub, pushed_as, part):
    return next(name for name in hub.repositories[REPOSITORY].commits[pushed_as["commit"]] if part in name)


def downloads(hub):
    """The shards that were requested, each as often as it was."""
    return [
        path.split("/resolve/")[1].split("/", 1)[1] for verb, path in hub.requests if verb == "GET" and ".tar" in path
    ]


def test_a_connection_that_breaks_off_is_made_good_by_the_same_command(pushed, tmp_path):
    hub, pushed_as = pushed
    hub.cut.add(shard_called(hub, pushed_as, "train-00003"))
    pull("--out", tmp_path / "here")
    assert not hub.cut
    verify(tmp_path / "here")


@pytest.mark.parametrize("killed", ["client", "server"])
def test_a_pull_that_is_killed_in_the_middle_of_a_file_continues(killed, pushed, tmp_path):
    """Files that were complete are not requested again, and no manifest marks the folder as complete before."""
    hub, pushed_as = pushed
    shard = shard_called(hub, pushed_as, "train-00003")
    hub.hang.add(shard)
    here = tmp_path / "here"
    process = subprocess.Popen([CLI, "pull", REPOSITORY, "--out", here], stderr=subprocess.PIPE, text=True)
    assert hub.halfway.wait(60)
    if killed == "client":
        process.kill()
        process.communicate()
        again = hub
    else:
        hub.shutdown()
        hub.server_close()
        hub.released.set()  # its connections end
        message = process.communicate(timeout=120)[1]
        assert process.returncode == 1 and "Traceback" not in message
        again = hub_server.HubServer(hub.server_address[1])
        again.repositories = hub.repositories
    hub.hang.clear()
    hub.released.set()
    assert not (here / "manifest.json").exists() and not (here / shard).exists()
    complete = {f"data/{path.name}" for path in (here / "data").iterdir()}
    before = len(downloads(hub))
    assert complete
    if again is hub:
        pull("--out", here)
        requested = downloads(hub)[before:]
    else:
        with again:
            pull("--out", here)
        requested = downloads(again)
    assert shard in requested and not complete & set(requested)
    verify(here)
    assert not (here / ".unfinished").exists() and not list(here.rglob("*.incomplete"))


def hostile(hub, small_dataset, names):
    """A repository whose manifest, sealed again, also names these files."""
    stored = json.loads((small_dataset / "manifest.json").read_text())
    files = {path.relative_to(small_dataset).as_posix(): path.read_bytes() for path in small_dataset.rglob("*.*")}
    for name in names:
        files[name] = b"print('run')"
        stored["files"][name] = {"rows": 0, "bytes": 12, "sha256": hashlib.sha256(files[name]).hexdigest()}
    stored["digest"] = manifests.digest(stored)
    stored["seal"] = manifests.seal(stored)
    hub.repositories[REPOSITORY] = hub_server.Repository()
    hub.repositories[REPOSITORY].add({**files, "manifest.json": manifests.rendered(stored)})


@pytest.mark.parametrize(
    "name", ["setup.py", "x.pkl", ".bashrc", ".git/hooks/post-checkout", "data/train-00000-of-00001.py", "README.MD"]
)
def test_a_manifest_that_names_other_files_downloads_nothing(name, hub, small_dataset, tmp_path):
    hostile(hub, small_dataset, [name])
    assert repr(name) in pull("--out", tmp_path / "here", code=1)
    assert not (tmp_path / "here").exists()
    assert not any("/resolve/" in path and "manifest.json" not in path for _, path in hub.requests)


def test_files_that_are_there_are_never_overwritten(pushed, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    (here / "README.md").write_text("my work")
    assert "not empty" in pull("--out", here, code=2)
    assert [path.name for path in here.iterdir()] == ["README.md"]
    assert (here / "README.md").read_text() == "my work"
    (here / "README.md").unlink()
    (here / ".unfinished").mkdir()
    (here / ".unfinished" / "pull.json").write_text('{"digest": "another"}')
    assert "an unfinished download of another dataset" in pull("--out", here, code=2)
    shutil.rmtree(here / ".unfinished")
    pull("--out", here)  # into an empty folder


def test_wrong_bytes_are_refused_and_fetched_again(pushed, tmp_path):
    hub, pushed_as = pushed
    shard = next(name for name in hub.repositories[REPOSITORY].commits[pushed_as["commit"]] if "train-00001" in name)
    hub.altered.add(shard)
    said = pull("--out", tmp_path / "here", code=1)
    assert shard in said
    assert not (tmp_path / "here" / shard).exists()
    assert not (tmp_path / "here" / "manifest.json").exists()
    pull("--out", tmp_path / "here")
    verify(tmp_path / "here")


def test_a_part_can_be_pulled(pushed, tmp_path):
    assert "a part of the dataset" in pull("--out", tmp_path / "here", "--split", "validation")
    assert {p.name.split("-")[0] for p in (tmp_path / "here" / "data").iterdir()} == {"validation"}
    pull("--out", tmp_path / "here", "--include", "data/sample*")
    assert {p.name.split("-")[0] for p in (tmp_path / "here" / "data").iterdir()} == {"validation", "sample"}
    assert "No shard matches" in pull("--out", tmp_path / "here", "--include", "*.zip", code=2)
    assert "train, validation, sample" in pull("--out", tmp_path / "here", "--split", "test", code=2)


def test_a_pulled_dataset_is_found_offline(pushed, monkeypatch, tmp_path):
    pull()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code = """
import cytoimagenet
from datasets import load_dataset

print(load_dataset("cytoimagenet", split="validation").num_rows)
"""
    assert int(run(sys.executable, "-c", code).split()[-1]) > 0
    pull()  # what is in the cache needs no network


def test_repositories_that_do_not_exist(hub, tmp_path):
    assert "no dataset repository" in pull("--out", tmp_path / "here", code=2)
    hub.repositories[REPOSITORY] = hub_server.Repository()
    hub.repositories[REPOSITORY].add({"README.md": b"# something else"})
    assert "not a CytoImageNet dataset" in pull("--out", tmp_path / "here", code=2)
    assert "no revision 'v9'" in pull("--out", tmp_path / "here", "--revision", "v9", code=2)


def test_plain_datasets_reads_the_repository(pushed, small_dataset):
    """With nothing of ours imported, map-style and streaming."""
    code = """
import sys
from datasets import load_dataset

loaded = load_dataset("me/cytoimagenet", split="validation")
first = next(iter(load_dataset("me/cytoimagenet", split="train", streaming=True)))
print(loaded.num_rows, loaded.features["cls"].names[0], first["png"].mode, "cytoimagenet" in sys.modules)
"""
    manifest = Manifest.load(small_dataset)
    printed = run(sys.executable, "-c", code).split("\n")[-2]
    assert printed == f"{manifest.rows('validation')} {manifest.class_names[0]} L False"


THROUGH_HF = """
import hashlib, json, sys
import cytoimagenet, datasets
from cytoimagenet.builder.dataset import manifest as manifests
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.shards.verify import verify

tag, base = sys.argv[1], "hf://datasets/me/cytoimagenet"
there = f"{base}@{tag}"

def content_of(rows):
    return sorted([row["key"], row["label"], hashlib.sha256(row["image"].tobytes()).hexdigest()] for row in rows)

of = {"split": "validation"}
said = {
    "in the path": content_of(cytoimagenet.load_dataset(data_dir=there, streaming=True, **of)),
    "revision=": content_of(cytoimagenet.load_dataset(data_dir=base, revision=tag, streaming=True, **of)),
    "by the hook": content_of(datasets.load_dataset("cytoimagenet", data_dir=base, revision=tag, streaming=True, **of)),
    "map-style": content_of(cytoimagenet.load_dataset(data_dir=there, **of)),
    "one class": content_of(cytoimagenet.load_dataset("organism", data_dir=there, streaming=True, **of)),
    "the builder": content_of(cytoimagenet.CytoImageNet(data_dir=base, revision=tag).as_streaming_dataset(**of)),
}
rows = Manifest.load(there).metadata()
rows = rows[rows["split"] == "validation"]
said["by place"] = sorted(
    hashlib.sha256(image.tobytes()).hexdigest() for image in cytoimagenet.read_images(rows, there)
)
said["verified"] = verify(there).images
said["batches"] = sum(len(batch["labels"]) for batch in cytoimagenet.stream(there, "validation", size=32, workers=0))
print(json.dumps(said))
"""


def test_everything_reads_through_hf_at_a_revision(pushed, small_dataset):
    """The branch has moved on to something else: whoever forgets the revision finds no dataset."""
    hub, pushed_as = pushed
    hub.repositories[REPOSITORY].add({"README.md": b"# something else"})
    said = json.loads(run(sys.executable, "-c", THROUGH_HF, pushed_as["tag"]).splitlines()[-1])
    manifest = Manifest.load(small_dataset)
    assert (said.pop("verified"), said.pop("batches")) == (300, 30)
    rows = manifest.metadata()
    rows = rows[rows["split"] == "validation"]
    pixels = [hashlib.sha256(image.tobytes()).hexdigest() for image in read_images(rows, small_dataset)]
    numbers = [manifest.class_names.index(label) for label in rows["label"]]
    truth = sorted([*row] for row in zip(rows["key"], numbers, pixels, strict=True))
    assert said.pop("by place") == sorted(pixels)
    assert said.pop("one class") == [row for row in truth if row[1] == 3]
    assert len(said) == 5
    assert all(found == truth for found in said.values())
    assert "no manifest.json" in run(CLI, "info", "hf://datasets/me/cytoimagenet", code=2)


def test_the_card_is_one_the_hub_accepts(small_dataset):
    """As far as the client can tell: its own check of the metadata."""
    from huggingface_hub import DatasetCard, DatasetCardData

    card = DatasetCard.load(small_dataset / "README.md")
    assert isinstance(card.data, DatasetCardData)
    assert card.data.to_dict()["configs"] == metadata(Manifest.load(small_dataset))["configs"]
    assert card.data.license == "other"
