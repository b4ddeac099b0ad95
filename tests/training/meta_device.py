"""A device that catches whoever waits for it, for tests without a GPU.

Tensors on torch's device `meta` have shapes but no values. Training runs on it; whatever needs a value from the device,
or a size that depends on values, is noted with its place in the code and gets a zero.
"""

from __future__ import annotations

import traceback
from collections import Counter
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback, TrainingArguments

DEVICE = torch.device("meta")
aten = torch.ops.aten
_FREE = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view")  # no kernel

_SIZED_BY_VALUES = ("nonzero", "masked_select", "unique_dim", "_unique2", "bincount", "equal", "repeat_interleave")


class Spy(TorchDispatchMode):
    """Notes waits for the device, and counts the operations that it must execute, within a `with` block.

    Attributes
    ----------
    place : str
        Where the program is; set it.
    waits : dict
        Place -> counts of the kinds of wait, each with its line of code.
    operations : Counter
        Place -> number of operations that launch something on the device: all but views and allocations.
    """

    def __init__(self) -> None:
        super().__init__()
        self.place = ""
        self.waits: dict[str, Counter[str]] = {}
        self.operations: Counter[str] = Counter()
        self._numbers = _Numbers(self)
        # clipping takes one operation for all gradients together, as on a GPU
        self._foreach = mock.patch("torch.nn.utils.clip_grad._has_foreach_support", return_value=True)

    def note(self, kind: str) -> None:
        """Count a wait at the line of code that asked for it."""
        self.waits.setdefault(self.place, Counter())[f"{kind}: {_line()}"] += 1

    def __enter__(self):
        self._foreach.start()
        self._numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._numbers.__exit__(*error)
        self._foreach.stop()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if func is aten._local_scalar_dense.default and _on_device(args[0]):
            self.note("a value is read")
            return 1
        if name in _SIZED_BY_VALUES and any(map(_on_device, args)):
            self.note(f"{name} reads a size")
            minimum = args[2] if name == "bincount" and len(args) > 2 else kwargs.get("minlength", 0)
            return torch.zeros(minimum, dtype=torch.int64, device=DEVICE)
        if name == "index" and any(_on_device(i) and i.dtype == torch.bool for i in args[1] if i is not None):
            self.note("a mask as an index reads its size")
            return args[0][:0]
        if name in ("_to_copy", "copy_"):
            source = args[0] if name == "_to_copy" else args[1]
            target = torch.device(kwargs.get("device") or source.device) if name == "_to_copy" else args[0].device
            free = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
            if (source.device == DEVICE) != (target.type == "meta") and not free:
                self.note("a blocking copy")
                if source.device == DEVICE:
                    return torch.zeros(source.shape, dtype=kwargs.get("dtype") or source.dtype)
            if source.device == DEVICE and target.type != "meta":  # fetched later: there is nothing to copy here
                self.operations[self.place] += 1
                return args[0] if name == "copy_" else torch.zeros(source.shape, dtype=source.dtype)
        result = func(*args, **kwargs)
        # random numbers are made on the device without an operand
        if not func.is_view and name not in _FREE and (_anywhere(args) or _on_device(result)):
            self.operations[self.place] += 1
        return result


class _Numbers(TorchFunctionMode):
    """Notes the copies of numbers to the device by `torch.tensor(3, device=...)` and `tensor.new_tensor(3)`."""

    def __init__(self, spy: Spy) -> None:
        super().__init__()
        self.spy = spy

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device") or "cpu"
        if func is torch.tensor and torch.device(device) == DEVICE:
            self.spy.note("a blocking copy of a number")
        if func is torch.Tensor.new_tensor and _on_device(args[0]):
            self.spy.note("a blocking copy of a number")
        return func(*args, **kwargs)


class Places(TrainerCallback):
    """Names the places of a training for a spy: `step 3`, `step 3, logged`, `epoch`, `evaluation`."""

    def __init__(self, spy: Spy) -> None:
        self.spy = spy

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        logged = (state.global_step + 1) % args.logging_steps == 0
        self.spy.place = f"step {state.global_step + 1}" + (", logged" if logged else "")

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.spy.place = "epoch"

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.spy.place = "between epochs"

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.spy.place = "end"


def on_device(make_trainer: Any, *args: Any, **kwargs: Any) -> Any:
    """Call `make_trainer` and return a trainer whose device is `meta`; it writes no checkpoints."""
    set_up = TrainingArguments.device.fget
    with mock.patch.object(TrainingArguments, "device", property(lambda self: (set_up(self), DEVICE)[1])):
        trainer = make_trainer(*args, **kwargs)
    trainer.args.__dict__["_setup_devices"] = DEVICE  # what the property `device` returns
    trainer.accelerator.state.device = DEVICE
    trainer._save_checkpoint = lambda *_, **__: None
    return trainer


def _on_device(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device == DEVICE


def _anywhere(args: Any) -> bool:
    return any(map(_on_device, torch.utils._pytree.tree_leaves(args)))


def _line() -> str:
    for frame in reversed(traceback.extract_stack()):
        if "/torch/" not in frame.filename and frame.filename != __file__:
            return f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}  {frame.line}"
    return "unknown"
