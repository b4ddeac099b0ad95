"""The processes of a launch by `torchrun` or `accelerate launch`, and the device of each."""

from __future__ import annotations


class Processes:
    """The number of processes, the index of this one, and the device on which it computes."""

    def __init__(self) -> None:
        import torch
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env

        # without `cpu=True` each of several processes on CPUs would assume that it is the only one
        cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
        self._state = PartialState(cpu=cpu)
        self.index, self.count = self._state.process_index, self._state.num_processes
        self.is_main = self._state.is_main_process
        device = self._state.device
        self.device = "cpu" if device.type == "cpu" else str(device)

    def wait(self) -> None:
        """Wait until all processes have reached this call."""
        self._state.wait_for_everyone()


def is_main_process() -> bool:
    """Return whether this is the process that prints and writes; a single process is."""
    return Processes().is_main
