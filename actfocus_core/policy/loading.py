"""Load a policy: an embedded one, a model folder, or a model of the Hugging Face hub."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actfocus_core.dialogue import ChatFormat
from actfocus_core.errors import ActFocusError, out_of_memory
from actfocus_core.extras import ignore_deprecations, require
from actfocus_core.paths import assets
from actfocus_core.policy import model_files, smollm2

if TYPE_CHECKING:
    import torch

EMBEDDED = {"tiny": "tiny-policy", "smollm2-agent": "smollm2-adapter"}
"""Policies that ship with the package: name -> folder under the assets. ``smollm2-agent`` is a LoRA adapter on the
weights of ``smollm2``."""
_TOKENIZER_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
_FILES = [*_TOKENIZER_FILES, "*.safetensors"]
NAMES = (*EMBEDDED, "smollm2")
"""Policies that are loaded by name."""
TOKENIZER = "tokenizer.json"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass
class Policy:
    """A causal language model with its tokenizer, in eval mode and without gradients."""

    name: str
    model: Any
    tokenizer: Any
    env_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """environment name -> the options the policy was trained with (``actfocus.json`` in its folder)"""

    @cached_property
    def chat(self) -> ChatFormat:
        return ChatFormat(self.tokenizer)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def context(self) -> int:
        """Context length of the model, in tokens."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", 1 << 20)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the parameters, 16 hexadecimal digits; equal for equal weights."""
        import torch

        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]


def load_policy(name: str, device: str = "auto", dtype: str = "auto") -> Policy:
    """Load ``"tiny"``, ``"smollm2"``, ``"smollm2-agent"``, a Hugging Face folder, or a hub id (``Qwen/Qwen2.5-0.5B-Instruct``).

    ``device``: "auto" is CUDA if it is available, else the CPU. ``dtype``: "auto" is bfloat16 on CUDA and float32 on
    a CPU. A LoRA adapter folder (extra ``lora``) is merged into the base model it names. Only safetensors files are
    read, never a pickle. Raises ActFocusError if the model cannot be found or read.
    """
    if device != "auto":
        resolve_device(device)  # Fail before anything is downloaded.
    folder = _folder(name, _FILES)
    if base := _base_model(folder, _FILES):
        model_files.check_adapter(folder)
        return _merge_adapter(name, folder, load_policy(base, device, dtype))
    if not (folder / "config.json").is_file():
        raise ActFocusError(f"{folder}: not a model folder, it has no config.json")
    device = resolve_device(device)
    import torch
    import transformers

    transformers.logging.set_verbosity(logging.ERROR)
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers gives it no types
    dtype_name = dtype if dtype != "auto" else "bfloat16" if device == "cuda" else "float32"
    with _loading_errors(f"{name}: not a policy that can be loaded", _HINT):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **_LOCALLY)
        model_files.check_weights(folder, transformers.AutoConfig.from_pretrained(str(folder), **_LOCALLY))
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=getattr(torch, dtype_name), use_safetensors=True, **_LOCALLY
        )
    model.requires_grad_(False).eval().to(device)
    return Policy(name, model, tokenizer, _env_options(folder) if _is_local(name) else {})


_HINT = f"; give {', '.join(map(repr, NAMES))}, a model folder, or a hub id"
_LOCALLY = {"local_files_only": True, "trust_remote_code": False}
"""Prevents downloads that bypass the checks, and the execution of code shipped with a model."""


@contextmanager
def _loading_errors(message: str, hint: str = "") -> Iterator[None]:
    """Convert exceptions that libraries raise for damaged or hostile files into an ActFocusError with ``message``."""
    try:
        yield
    except ActFocusError:
        raise
    except Exception as error:  # safetensors, tokenizers and huggingface_hub define their own exception types.
        if out_of_memory(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
        raise ActFocusError(f"{message} ({reason}){hint}") from None


def _folder(name: str, patterns: list[str], noun: str = "policy") -> Path:
    """The local folder of a named policy, a folder or a hub id (downloaded if needed), checked by ``check_regular``."""
    folder = _named_folder(name) if name in NAMES else Path(name)
    if not folder.is_dir():
        if not _HUB_ID.fullmatch(name):
            raise ActFocusError(
                f"{name}: no such {noun}; give {', '.join(map(repr, NAMES))}, a model folder, or a hub id "
                "such as Qwen/Qwen2.5-0.5B-Instruct"
            )
        folder = Path(_download(name, patterns))
    model_files.check_regular(folder)
    return folder


def _is_local(name: str) -> bool:
    return name in NAMES or Path(name).is_dir()


def _named_folder(name: str) -> Path:
    return smollm2.smollm2_folder() if name == "smollm2" else assets() / EMBEDDED[name]


def available_policies() -> list[str]:
    """The named policies that can be loaded with the installed packages."""
    return [name for name in NAMES if "smollm2" not in name or smollm2.is_available()]


def _base_model(folder: Path, patterns: list[str]) -> str:
    """The base model of a LoRA adapter folder, empty if the folder is not an adapter.

    Raises ActFocusError if the base is itself an adapter.
    """
    file = folder / model_files.ADAPTER_CONFIG
    if not file.is_file() or (folder / "config.json").is_file():
        return ""
    base = model_files.read_json(file).get("base_model_name_or_path")
    if (
        not isinstance(base, str)
        or base not in NAMES
        and (_folder(base, patterns) / model_files.ADAPTER_CONFIG).is_file()
    ):
        raise ActFocusError(f"{file}: adapts {base!r}, which is not a model; merge the adapters into a model folder")
    return base


def _merge_adapter(name: str, folder: Path, base: Policy) -> Policy:
    """The base policy with the adapter merged into its weights."""
    peft = require("peft", "lora")
    with _loading_errors(f"{name}: not an adapter of {base.name}"), ignore_deprecations():
        model = peft.PeftModel.from_pretrained(base.model, folder).merge_and_unload()
    return Policy(
        name, model.requires_grad_(False).eval(), base.tokenizer, _env_options(folder) if _is_local(name) else {}
    )


def trained_options(name: str) -> dict[str, dict[str, Any]]:
    """``Policy.env_options`` of a policy by name, without reading its weights; empty for a hub id."""
    folder = assets() / EMBEDDED[name] if name in EMBEDDED else Path(name)
    return _env_options(folder) if folder.is_dir() else {}


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a named policy, a folder, a ``tokenizer.json`` or a hub id; no weights are read or downloaded.

    A ``tokenizer.json`` without a ``tokenizer_config.json`` beside it has no chat template. Raises ActFocusError if it
    cannot be found or read.
    """
    if Path(name).name == TOKENIZER and Path(name).is_file():
        return _tokenizer_file(Path(name))
    folder = _folder(name, _TOKENIZER_FILES, "tokenizer")
    if base := _base_model(folder, _TOKENIZER_FILES):
        return load_tokenizer(base)
    import transformers

    transformers.logging.set_verbosity(logging.ERROR)
    with _loading_errors(f"{name}: not a tokenizer that can be loaded"):
        return transformers.AutoTokenizer.from_pretrained(str(folder), **_LOCALLY)


def _tokenizer_file(file: Path) -> Any:
    """The tokenizer of a ``tokenizer.json``, with what stands beside it."""
    if (file.parent / "tokenizer_config.json").is_file():
        return load_tokenizer(str(file.parent))
    model_files.check_regular(file.parent)
    import transformers

    with _loading_errors(f"{file}: not a tokenizer that can be loaded"):
        return transformers.PreTrainedTokenizerFast(tokenizer_file=str(file))  # type: ignore[no-untyped-call]


def load_config(name: str) -> Any:
    """The Hugging Face config of a policy, named as for ``load_policy``; no weights are read or downloaded.

    Raises ActFocusError if it cannot be found or read.
    """
    folder = _folder(name, _TOKENIZER_FILES)
    if base := _base_model(folder, _TOKENIZER_FILES):
        return load_config(base)
    import transformers

    with _loading_errors(f"{name}: not a policy that can be loaded"):
        return transformers.AutoConfig.from_pretrained(str(folder), **_LOCALLY)


def _download(hub_id: str, patterns: list[str]) -> str:
    """The local folder of a hub model: the cached snapshot, or a download if there is none."""
    import huggingface_hub

    try:
        return huggingface_hub.snapshot_download(hub_id, allow_patterns=patterns, local_files_only=True)
    except (OSError, ValueError):
        # Not cached. Probe the hub with a short timeout first: the download itself would retry for a minute.
        try:
            huggingface_hub.HfApi().model_info(hub_id, timeout=10)
            return huggingface_hub.snapshot_download(hub_id, allow_patterns=patterns)
        except Exception as error:  # The hub and the network raise many exception types.
            raise ActFocusError(
                f"{hub_id}: neither in the local cache nor available from the model hub "
                f"({type(error).__name__}); give {', '.join(map(repr, NAMES))} or a "
                "model folder"
            ) from None


def resolve_device(name: str) -> str:
    """The name of a device; "auto" is CUDA if it is available. Raises ActFocusError if CUDA is requested and missing."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ActFocusError(f"device {name!r}: there is no CUDA GPU here; use cpu")
    return name


def _env_options(folder: Path) -> dict[str, dict[str, Any]]:
    file = folder / "actfocus.json"
    if not file.is_file():
        return {}
    options = model_files.read_json(file).get("env_options")
    if not isinstance(options, dict) or not all(isinstance(value, dict) for value in options.values()):
        raise ActFocusError(
            f"{file}: no valid env_options; they must be an object with the options of each environment"
        )
    return options
