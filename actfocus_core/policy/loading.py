"""Loading a policy: the embedded one, a folder, or a model of the hub."""

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
from actfocus_core.extras import demand, outdated_calls
from actfocus_core.paths import assets
from actfocus_core.policy import model_files, smollm2

if TYPE_CHECKING:
    import torch

EMBEDDED = {"tiny": "tiny-policy", "smollm2-agent": "smollm2-adapter"}
"""Names of the policies that come with the package, and their folders in the assets. The second is an
adapter: the weights under it are those of ``smollm2``."""
_TOKENIZER_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
_FILES = [*_TOKENIZER_FILES, "*.safetensors"]
NAMES = (*EMBEDDED, "smollm2")
"""All policies with a name of their own."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass
class Policy:
    """A causal language model with its tokenizer, in eval mode and without gradients."""

    name: str
    model: Any
    tokenizer: Any
    env_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """environment name -> the options it was trained with (``actfocus.json`` of the folder)"""

    @cached_property
    def chat(self) -> ChatFormat:
        return ChatFormat(self.tokenizer)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def context(self) -> int:
        """The longest stream the model can read, in tokens."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", 1 << 20)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the parameters: equal for equal weights."""
        import torch

        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]


def load_policy(name: str, device: str = "auto", dtype: str = "auto") -> Policy:
    """Load ``"tiny"``, ``"smollm2"``, ``"smollm2-agent"``, a Hugging Face folder, or a hub id (``Qwen/Qwen2.5-0.5B-Instruct``).

    ``device``: "auto" takes CUDA where there is one. ``dtype``: "auto" is bfloat16 on CUDA and
    float32 on a CPU. A folder of a LoRA adapter (extra ``lora``) is added into the weights of the
    model it names. Only safetensors are read, never a pickle. Raises ActFocusError for a
    model that cannot be found or read.
    """
    if device != "auto":
        device_of(device)  # Before anything is fetched.
    folder = _folder(name, _FILES)
    if base := _base_of(folder, _FILES):
        model_files.check_adapter(folder)
        return _adapted(name, folder, load_policy(base, device, dtype))
    if not (folder / "config.json").is_file():
        raise ActFocusError(f"{folder}: not a model folder, it has no config.json")
    device = device_of(device)
    import torch
    import transformers

    transformers.logging.set_verbosity(logging.ERROR)
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers gives it no types
    kind = dtype if dtype != "auto" else "bfloat16" if device == "cuda" else "float32"
    with _readable(f"{name}: not a policy that can be loaded", _HINT):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **_LOCALLY)
        model_files.check_weights(folder, transformers.AutoConfig.from_pretrained(str(folder), **_LOCALLY))
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=getattr(torch, kind), use_safetensors=True, **_LOCALLY
        )
    model.requires_grad_(False).eval().to(device)
    return Policy(name, model, tokenizer, _env_options(folder) if _is_local(name) else {})


_HINT = f"; give {', '.join(map(repr, NAMES))}, a model folder, or a hub id"
_LOCALLY = {"local_files_only": True, "trust_remote_code": False}
"""Nothing is downloaded past the checks, and no code that comes with a model is run."""


@contextmanager
def _readable(otherwise: str, hint: str = "") -> Iterator[None]:
    """Turn what the libraries raise for damaged or hostile files into an ActFocusError that begins with ``otherwise``."""
    try:
        yield
    except ActFocusError:
        raise
    except Exception as error:  # safetensors, tokenizers and huggingface_hub have kinds of their own
        if out_of_memory(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
        raise ActFocusError(f"{otherwise} ({reason}){hint}") from None


def _folder(name: str, patterns: list[str], what: str = "policy") -> Path:
    """The folder of one of NAMES, a folder, or the cached snapshot of a hub id, after ``model_files.check_regular``."""
    folder = _named(name) if name in NAMES else Path(name)
    if not folder.is_dir():
        if not _HUB_ID.fullmatch(name):
            raise ActFocusError(
                f"{name}: no such {what}; give {', '.join(map(repr, NAMES))}, a model folder, or a hub id "
                "such as Qwen/Qwen2.5-0.5B-Instruct"
            )
        folder = Path(_fetched(name, patterns))
    model_files.check_regular(folder)
    return folder


def _is_local(name: str) -> bool:
    return name in NAMES or Path(name).is_dir()


def _named(name: str) -> Path:
    return smollm2.smollm2_folder() if name == "smollm2" else assets() / EMBEDDED[name]


def at_hand() -> list[str]:
    """Those of NAMES that can be loaded without a further package."""
    return [name for name in NAMES if "smollm2" not in name or smollm2.is_here()]


def _base_of(folder: Path, patterns: list[str]) -> str:
    """The model a LoRA adapter's folder names; empty where it is none. Raises ActFocusError for one on top of another."""
    file = folder / model_files.ADAPTER_CONFIG
    if not file.is_file() or (folder / "config.json").is_file():
        return ""
    base = model_files.read_json(file).get("base_model_name_or_path")
    if (
        not isinstance(base, str)
        or base not in NAMES
        and (_folder(base, patterns) / model_files.ADAPTER_CONFIG).is_file()
    ):
        raise ActFocusError(f"{file}: adapts {base!r}, which is no model; merge the adapters into a model folder")
    return base


def _adapted(name: str, folder: Path, base: Policy) -> Policy:
    """The base with an adapter added into its weights."""
    peft = demand("peft", "lora")
    with _readable(f"{name}: not an adapter of {base.name}"), outdated_calls():
        model = peft.PeftModel.from_pretrained(base.model, folder).merge_and_unload()
    return Policy(
        name, model.requires_grad_(False).eval(), base.tokenizer, _env_options(folder) if _is_local(name) else {}
    )


def trained_options(name: str) -> dict[str, dict[str, Any]]:
    """``Policy.env_options`` of a policy by its name, without reading its weights; none of a hub id."""
    folder = assets() / EMBEDDED[name] if name in EMBEDDED else Path(name)
    return _env_options(folder) if folder.is_dir() else {}


def load_tokenizer(name: str) -> Any:
    """The tokenizer of ``"tiny"``, of a folder, or of a hub id; no weights are read or fetched.

    Raises ActFocusError for one that cannot be found or read.
    """
    folder = _folder(name, _TOKENIZER_FILES, "tokenizer")
    if base := _base_of(folder, _TOKENIZER_FILES):
        return load_tokenizer(base)
    import transformers

    transformers.logging.set_verbosity(logging.ERROR)
    with _readable(f"{name}: not a tokenizer that can be loaded"):
        return transformers.AutoTokenizer.from_pretrained(str(folder), **_LOCALLY)


def load_config(name: str) -> Any:
    """The Hugging Face config of a policy, by the names ``load_policy`` takes; no weights are read or fetched.

    Raises ActFocusError for one that cannot be found or read.
    """
    folder = _folder(name, _TOKENIZER_FILES)
    if base := _base_of(folder, _TOKENIZER_FILES):
        return load_config(base)
    import transformers

    with _readable(f"{name}: not a policy that can be loaded"):
        return transformers.AutoConfig.from_pretrained(str(folder), **_LOCALLY)


def _fetched(hub_id: str, patterns: list[str]) -> str:
    """The local folder of a hub model's files: from the cache, else downloaded once."""
    import huggingface_hub

    try:
        return huggingface_hub.snapshot_download(hub_id, allow_patterns=patterns, local_files_only=True)
    except (OSError, ValueError):
        # Not in the cache. Asked once with a short limit: the download itself would retry for a minute.
        try:
            huggingface_hub.HfApi().model_info(hub_id, timeout=10)
            return huggingface_hub.snapshot_download(hub_id, allow_patterns=patterns)
        except Exception as error:  # the hub's and the network's own kinds
            raise ActFocusError(
                f"{hub_id}: neither in the local cache nor to be had from the model hub "
                f"({type(error).__name__}); give {', '.join(map(repr, NAMES))} or a "
                "model folder"
            ) from None


def device_of(wanted: str) -> str:
    """The device's name; "auto" is CUDA where there is one. Raises ActFocusError where there is none and it is asked for."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ActFocusError(f"device {wanted!r}: there is no CUDA GPU here; use cpu")
    return wanted


def _env_options(folder: Path) -> dict[str, dict[str, Any]]:
    file = folder / "actfocus.json"
    if not file.is_file():
        return {}
    options = model_files.read_json(file).get("env_options")
    if not isinstance(options, dict) or not all(isinstance(value, dict) for value in options.values()):
        raise ActFocusError(
            f"{file}: no readable env_options; they must be an object with the options of each environment"
        )
    return options
