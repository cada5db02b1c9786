"""A checkpoint: the exact state of a training that follows the log as it was then.

One safetensors file: tensors, and plain values as JSON in its metadata, sealed with a checksum over both.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from emcomm import files
from emcomm.errors import BadInput
from emcomm.schemas import LARGEST_CHECKPOINT, CheckpointFacts, converted

FORMAT = 2
"""1 had neither a checksum nor the games in progress: its weights can be read, but a training cannot go on from it."""


@dataclass(frozen=True)
class Checkpoint:
    """A moment of training from which it can go on."""

    tensors: dict[str, Tensor]
    """`policy.*` the weights, `optimiser.*` its moments, `state.*` the arrays of the state beside them."""
    facts: dict[str, Any]
    """Counters, the end of the log, and the plain values of the state; see `emcomm.schemas.CheckpointFacts`."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix` and a dot, without it."""
        return {k.removeprefix(f"{prefix}."): v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}

    @property
    def state(self) -> dict[str, Any]:
        """The state as it was given to `checkpoint_of`."""
        return _joined(self.facts["state"], self.part("state"))

    def to_bytes(self) -> bytes:
        """The content of its file."""
        facts = {**self.facts, "seal": _seal(self.tensors, self.facts)}
        return save(self.tensors, {"emcomm": json.dumps(facts)})


def checkpoint_of(tensors: dict[str, Tensor], facts: dict[str, Any], state: dict[str, Any]) -> Checkpoint:
    """A checkpoint; `state` is made of nested dictionaries with arrays and plain values."""
    plain, arrays = _split(state)
    held = {f"state.{name}": torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    return Checkpoint({**tensors, **held}, {**facts, "format": FORMAT, "state": plain})


def _split(tree: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The plain values of nested dictionaries, and their arrays by names with dots."""
    plain: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif isinstance(value, dict):
            plain[name], below = _split(value)
            arrays.update({f"{name}.{rest}": array for rest, array in below.items()})
        else:
            plain[name] = value
    return plain, arrays


def _joined(plain: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The inverse of `_split`."""
    tree = {name: _joined(value, {}) if isinstance(value, dict) else value for name, value in plain.items()}
    for name, tensor in tensors.items():
        *folders, last = name.split(".")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        if last in place:
            raise ValueError(f"{name} is there twice")
        place[last] = tensor.numpy()
    return tree


def _seal(tensors: dict[str, Tensor], facts: dict[str, Any]) -> str:
    """SHA-256 over everything in a checkpoint."""
    digest = hashlib.sha256(json.dumps({**facts, "seal": ""}, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint from disk; raises BadInput naming one that is damaged or that no training can have written."""
    try:
        with files.opened(path, path.parent, LARGEST_CHECKPOINT) as file:
            facts = json.loads(_metadata(file))
            file.seek(0)
            content = file.read()
        checkpoint = Checkpoint(load(content), facts)
        if "format" in facts:
            _require_consistent(converted(facts, CheckpointFacts))
            checkpoint.state  # noqa: B018 (raises where its plain values and its arrays do not go together)
        elif any(type(facts.get(name, 0)) is not int for name in ("version", "episodes")):
            raise ValueError("its version and episodes are no counts")
        if "seal" in facts and facts["seal"] != _seal(checkpoint.tensors, facts):
            raise ValueError("its content does not fit its checksum")
        _require_numbers(checkpoint)
    except BadInput:
        raise
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError,
            MemoryError, RuntimeError) as error:  # fmt: skip
        raise BadInput(f"the checkpoint {path} is damaged: {error}") from error
    if "format" not in facts:
        return Checkpoint(checkpoint.tensors, {name: facts.get(name, 0) for name in ("version", "episodes")})
    return checkpoint


def _metadata(file: BinaryIO) -> str:
    """The metadata of safetensors: JSON behind its length in eight bytes."""
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= 100_000_000:
        raise ValueError("its header is cut short")
    header = file.read(length)
    if len(header) != length:
        raise ValueError("its header is cut short")
    return json.loads(header)["__metadata__"]["emcomm"]


def _require_consistent(facts: CheckpointFacts) -> None:
    """Raise ValueError where the facts contradict each other."""
    log = facts.log
    if facts.episodes != log.episodes or (not log.parts and (log.rows or log.episodes or log.digest)):
        raise ValueError("its episodes are not those of the log that it follows")


def _require_numbers(checkpoint: Checkpoint) -> None:
    """Raise ValueError where weights or moments are not finite, or a mean square is negative."""
    for name, tensor in checkpoint.tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all() and not name.startswith("state."):
            raise ValueError(f"{name} holds numbers that are not finite")
    for name, tensor in checkpoint.part("optimiser").items():
        if (tensor < 0).any():
            raise ValueError(f"optimiser.{name} is negative, and a mean square cannot be")


def load_weights(module: torch.nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Put `weights` into `module`; raises BadInput where they do not fit."""
    if not any("torso." in name for name in weights):  # as they were called before there were several torsos
        weights = {re.sub(r"(^|\.)core\.", r"\1torso.cell.", name): tensor for name, tensor in weights.items()}
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        first, *others = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        more = f" (and {len(others)} more)" if others else ""
        raise BadInput(f"the checkpoint in {source} does not fit its configuration: {first[:300]}{more}") from error
