"""The policies a page may choose: those that are installed here, and which of them need a GPU."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.policy.loading import TOKENIZER, available_policies

TITLES = {
    "tiny": "embedded policy, 0.9 million parameters",
    "smollm2-agent": "SmolLM2-135M taught the format, slow",
    "smollm2": "SmolLM2-135M-Instruct as it is, slow",
}
LARGE = 1_000_000_000
"""Number of parameters from which a CPU is too slow."""


@dataclass(frozen=True)
class Model:
    """A policy that can be loaded without a network."""

    name: str
    """as ``load_policy`` takes it"""
    label: str
    parameters: int = 0
    """approximate number; 0 for a small model"""

    @property
    def needs_gpu(self) -> bool:
        return self.parameters >= LARGE

    @property
    def title(self) -> str:
        """The label, with its requirements."""
        return f"{self.label} (needs a GPU)" if self.needs_gpu else self.label


def installed(runs_dir: Path) -> list[Model]:
    """The bundled policies, those trained in ``runs_dir``, and the models in the local cache of the Hugging Face hub."""
    own = [Model(name, f"{name}: {TITLES[name]}") for name in available_policies()]
    trained = [
        Model(str(file.parent), f"{file.parent.parent.name}: trained here")
        for file in sorted(Path(runs_dir).resolve().glob("*/policy/config.json"))
    ]
    return [*own, *trained, *_cached()]


def chosen(name: object, runs_dir: Path) -> Model:
    """The model of this name. Raises ActFocusError if it is not installed or cannot run on this machine."""
    model = next((m for m in installed(runs_dir) if m.name == name), None)
    if model is None:
        raise ActFocusError("unknown policy; choose one of the list")
    if model.needs_gpu and not has_gpu():
        raise ActFocusError(
            f"{model.name}: has about {model.parameters / 1e9:.1f} billion parameters and needs a GPU; there is none here"
        )
    return model


def reference(name: str, runs_dir: Path) -> str:
    """A reference model as ``load_policy`` takes it: one that is installed, or a folder with a model.

    Raises ActFocusError for anything else, and for a model that cannot run on this machine.
    """
    if any(model.name == name for model in installed(runs_dir)):
        return chosen(name, runs_dir).name
    folder = Path(name).expanduser()
    if name.isprintable() and folder.is_absolute() and (folder / "config.json").is_file():
        return str(folder)
    raise ActFocusError(
        "unknown reference model: give one of the list, or the full path of a folder with config.json and safetensors; "
        "`hf download ID` brings a model of the hub into the list"
    )


def short(name: str) -> str:
    """The name of a policy for display: that of its run if it was trained here."""
    return Path(name).parent.name if Path(name).is_absolute() else name


def has_gpu() -> bool:
    """Whether there is a CUDA device, without loading torch."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None


def cached_tokenizers() -> list[str]:
    """Hub ids in the local cache that have a tokenizer."""
    return sorted({id for id, files in _cached_files() if TOKENIZER in files})


def tokenizer(name: str, offered: Sequence[str]) -> str:
    """A tokenizer as ``load_tokenizer`` takes it: one that is offered, or the full path of a folder or a tokenizer.json.

    Raises ActFocusError for anything else, such as a hub id that is not in the local cache: a page downloads nothing.
    """
    path = Path(name).expanduser()
    if name in offered:
        return name
    if name.isprintable() and path.is_absolute():
        if (path / TOKENIZER).is_file() or (path.name == TOKENIZER and path.is_file()):
            return str(path)
        raise ActFocusError(f"tokenizer: {name} is no folder with a {TOKENIZER}, and no such file")
    raise ActFocusError(
        f"tokenizer: {name[:80]} is not installed here; choose one of {', '.join(offered)}, bring a model of the hub here with "
        f"`hf download ID`, or give the full path of a folder or a {TOKENIZER}"
    )


def _cached_files() -> Iterator[tuple[str, dict]]:
    """Hub id and files, by name, of every revision of a model in the hub's local cache."""
    import huggingface_hub
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = huggingface_hub.scan_cache_dir().repos
    except CacheNotFound:
        return
    for repository in repositories:
        for revision in repository.revisions if repository.repo_type == "model" else ():
            yield repository.repo_id, {file.file_name: file for file in revision.files}


def _cached() -> list[Model]:
    """Causal language models in the hub's local cache that have safetensors."""
    found: dict[str, Model] = {}
    for id, files in _cached_files():
        size = sum(file.size_on_disk for name, file in files.items() if name.endswith(".safetensors"))
        if size and "config.json" in files and _is_causal(files["config.json"].file_path):
            # Weights of the hub lie there with two bytes each.
            found.setdefault(id, Model(id, id, size // 2))
    return [found[id] for id in sorted(found)]


def _is_causal(config: Path) -> bool:
    try:
        architectures = json.loads(config.read_text(encoding="utf-8"))["architectures"]
        return any(name.endswith("ForCausalLM") for name in architectures)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
