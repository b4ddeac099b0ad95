"""Two processes share the work, and an interrupted run resumes to the same weights."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap

import pandas as pd
import torch
from safetensors.torch import load_file

CASES = {
    "stream": {"loader": "stream", "accumulation": 2, "batch_size": 32, "workers": None},
    "map": {"loader": "map", "accumulation": 4, "batch_size": 8, "workers": 2},
}
STEPS = {"stream": 4, "map": 8}
SCRIPT = """
    import json, os, sys
    import torch
    torch.set_num_threads(1)
    from transformers import TrainerCallback
    from cytoimagenet.training import train as module
    from cytoimagenet.training.train import train

    data_dir, folder, model, cases = sys.argv[1:]
    chosen = dict(model=model, size=32, epochs=2, average=0.9)
    module.plot_history = module.plot_per_class = lambda *_: None  # plots take half of the time

    class CutOff(Exception):
        pass

    class Watch(TrainerCallback):
        def __init__(self, cut):
            self.cut = cut

        def on_step_end(self, args, state, control, **_):
            if state.global_step == self.cut:
                raise CutOff

    for name, (case, cut) in json.loads(cases).items():
        whole = train(data_dir, f"{folder}/{name}-whole", **chosen, **case)
        try:
            train(data_dir, f"{folder}/{name}-cut", save_every=1, callbacks=[Watch(cut)], **chosen, **case)
            sys.exit("it was not interrupted")
        except CutOff:
            pass
        assert cut < 2 or os.path.exists(f"{folder}/{name}-cut/checkpoint-{cut - 1}/whole.json")
        resumed = train(data_dir, f"{folder}/{name}-cut", resume=True)
        again = train(data_dir, f"{folder}/{name}-cut", resume=True)
        assert whole.metrics == resumed.metrics == again.metrics
        print(json.dumps({"name": name, "rank": int(os.environ["RANK"]), **resumed.metrics}), flush=True)
"""


def test_two_processes_share_the_work_and_resume_bit_identically(small_dataset, small_model, tmp_path):
    """`torchrun` starts each process separately: nothing is inherited."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    rng = random.Random(7)
    cases = json.dumps({name: (case, rng.randrange(2, STEPS[name])) for name, case in CASES.items()})
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [*launch, str(script), str(small_dataset), str(tmp_path), small_model, cases],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for name in CASES:
        mine = [line for line in results if line["name"] == name]
        assert sorted(line.pop("rank") for line in mine) == [0, 1]
        assert mine[0] == mine[1], "every process has the scores over all processes"
        one, other = (load_file(tmp_path / f"{name}-{which}" / "model.safetensors") for which in ("whole", "cut"))
        assert all(torch.equal(one[weight], other[weight]) for weight in one)
        table = pd.read_csv(tmp_path / f"{name}-whole" / "per_class.csv")
        assert table["evaluated"].tolist() == [6] * 5, "every validation image was counted once"
        # 270 images: 4 batches of 32 for each process, two to a step; or 16 batches of 8, four to a step
        history = pd.read_csv(tmp_path / f"{name}-whole" / "history.csv")
        assert history["step"].tolist() == [STEPS[name] // 2, STEPS[name]]
        assert json.loads((tmp_path / f"{name}-whole" / "run.json").read_text())["processes"] == 2
