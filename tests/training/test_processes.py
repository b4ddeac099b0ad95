"""Two processes: the work is shared, and a cut-off run goes on to the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pandas as pd
import torch
from safetensors.torch import load_file

SCRIPT = """
    import json, os, sys
    import torch
    torch.set_num_threads(1)
    from transformers import TrainerCallback
    from cytoimagenet.training.train import train

    data_dir, folder, model = sys.argv[1:]
    chosen = dict(model=model, size=32, epochs=2, batch_size=32, workers=0, average=0.9, save_every=3, accumulation=2)
    seen = []

    class CutOff(Exception):
        pass

    class Watch(TrainerCallback):
        def __init__(self, cut=0):
            self.cut = cut

        def on_step_end(self, args, state, control, **_):
            if state.global_step == self.cut:
                raise CutOff

    whole = train(data_dir, folder + "/whole", loader="stream", **chosen)
    try:
        train(data_dir, folder + "/cut", loader="stream", callbacks=[Watch(2)], **(chosen | {"save_every": 1}))
    except CutOff:
        pass
    resumed = train(data_dir, folder + "/cut", resume=True)
    again = train(data_dir, folder + "/cut", resume=True)
    assert whole.metrics == resumed.metrics == again.metrics
    print(json.dumps({"rank": int(os.environ["RANK"]), **resumed.metrics}), flush=True)
"""


def test_two_processes_share_the_work_and_resume_to_the_bit(small_dataset, small_model, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [*launch, str(script), str(small_dataset), str(tmp_path), small_model],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert sorted(line.pop("rank") for line in told) == [0, 1]
    assert told[0] == told[1], "every process knows the scores of all"
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    table = pd.read_csv(tmp_path / "whole" / "per_class.csv")
    assert table["evaluated"].tolist() == [6] * 5, "every validation image was counted once"
    history = pd.read_csv(tmp_path / "whole" / "history.csv")
    assert history["step"].tolist() == [2, 4], "270 images = 4 batches of 32 for each process, two to a step"
    assert json.loads((tmp_path / "whole" / "run.json").read_text())["processes"] == 2
