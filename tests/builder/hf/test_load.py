"""Loading stays light: reading a dataset imports nothing that only writing one needs."""

import subprocess
import sys

LIGHT = """
import sys
import cytoimagenet, datasets          # `datasets` itself imports yaml
before = set(sys.modules)
import cytoimagenet.builder.hf.load, cytoimagenet.builder.hf.builder, cytoimagenet.builder.hf.examples
after = set(sys.modules) - before
writers = ("yaml", "jinja2", "markupsafe", "torch", "tifffile", "cv2", "imagecodecs", "matplotlib")
ours = [name.removeprefix("cytoimagenet.builder.") for name in after if name.startswith("cytoimagenet.builder.")]
print(*[name for name in after if name.split(".")[0] in writers], "|", *sorted(ours))
"""
NEVER = ("pages", "images", "curate", "labels", "sources", "archive", "commands", "simulate")


def test_load_dataset_does_not_import_the_pages_nor_their_libraries():
    ran = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    heavy, ours = (part.split() for part in ran.stdout.split("|"))
    assert heavy == []
    assert {"hf.load", "hf.builder", "hf.examples", "dataset.manifest"} <= set(ours)
    assert [name for name in ours if name.split(".")[0] in NEVER] == []


def test_finding_the_dataset_needs_neither_datasets_nor_yaml():
    code = "import sys, cytoimagenet.builder.hf.load\nprint(*{'datasets', 'yaml', 'jinja2'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.split()) == (0, []), ran.stderr
