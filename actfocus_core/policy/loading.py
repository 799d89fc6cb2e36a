"""Loading a policy: the embedded one, a folder, or a model of the hub."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from actfocus_core.dialogue import ChatFormat
from actfocus_core.errors import ActFocusError
from actfocus_core.extras import demand, outdated_calls
from actfocus_core.paths import assets
from actfocus_core.policy import smollm2

if TYPE_CHECKING:
    import torch

EMBEDDED = {"tiny": "tiny-policy", "smollm2-agent": "smollm2-adapter"}
"""Names of the policies that come with the package, and their folders in the assets. The second is an
adapter: the weights under it are those of ``smollm2``."""
_TOKENIZER_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
NAMES = (*EMBEDDED, "smollm2")
"""All policies with a name of their own."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass
class Policy:
    """A causal language model with its tokenizer, in eval mode and without gradients."""

    name: str
    model: object
    tokenizer: object
    env_options: dict[str, dict] = field(default_factory=dict)
    """environment name -> the options it was trained with (``actfocus.json`` of the folder)"""

    @cached_property
    def chat(self) -> ChatFormat:
        return ChatFormat(self.tokenizer)

    @property
    def device(self) -> torch.device:
        return self.model.device

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
    folder = _named(name) if name in NAMES else Path(name)
    if base := _base_of(folder):
        return _adapted(name, folder, load_policy(base, device, dtype))
    local = folder.is_dir()
    if local and not (folder / "config.json").is_file():
        raise ActFocusError(f"{folder}: not a model folder, it has no config.json")
    if not local and not _HUB_ID.fullmatch(name):
        raise ActFocusError(f"{name}: no such policy; give {', '.join(map(repr, NAMES))}, a model "
                            "folder, or a hub id such as Qwen/Qwen2.5-0.5B-Instruct")
    device = device_of(device)
    import torch
    import transformers
    from safetensors import SafetensorError

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    kind = dtype if dtype != "auto" else "bfloat16" if device == "cuda" else "float32"
    where = str(folder) if local else _fetched(name, [*_TOKENIZER_FILES, "*.safetensors"])
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, local_files_only=True, trust_remote_code=False)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            where, dtype=getattr(torch, kind), use_safetensors=True, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ActFocusError(f"{name}: not a policy that can be loaded ({reason}); give "
                            f"{', '.join(map(repr, NAMES))}, a model folder, or a hub id") from None
    model.requires_grad_(False).eval().to(device)
    return Policy(name, model, tokenizer, _env_options(folder) if local else {})


def _named(name: str) -> Path:
    return smollm2.smollm2_folder() if name == "smollm2" else assets() / EMBEDDED[name]


def at_hand() -> list[str]:
    """Those of NAMES that can be loaded without a further package."""
    return [name for name in NAMES if "smollm2" not in name or smollm2.is_here()]


def _base_of(folder: Path) -> str:
    """The model a LoRA adapter's folder names; empty where it is none. Raises ActFocusError for one on top of another."""
    file = folder / "adapter_config.json"
    if not file.is_file() or (folder / "config.json").is_file():
        return ""
    try:
        base = json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise ActFocusError(f"{file}: does not say which model it adapts ({error})") from None
    if not isinstance(base, str) or base not in NAMES and (Path(base) / "adapter_config.json").is_file():
        raise ActFocusError(f"{file}: adapts {base!r}, which is no model; merge the adapters into a model folder")
    return base


def _adapted(name: str, folder: Path, base: Policy) -> Policy:
    """The base with an adapter added into its weights."""
    if not (folder / "adapter_model.safetensors").is_file():
        raise ActFocusError(f"{folder}: has no adapter_model.safetensors; save the adapter as safetensors")
    peft = demand("peft", "lora")
    from safetensors import SafetensorError

    try:
        with outdated_calls():
            model = peft.PeftModel.from_pretrained(base.model, folder).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ActFocusError(f"{name}: not an adapter of {base.name} ({reason})") from None
    return Policy(name, model.requires_grad_(False).eval(), base.tokenizer, _env_options(folder))


def trained_options(name: str) -> dict[str, dict]:
    """``Policy.env_options`` of a policy by its name, without reading its weights; none of a hub id."""
    folder = assets() / EMBEDDED[name] if name in EMBEDDED else Path(name)
    return _env_options(folder) if folder.is_dir() else {}


def load_tokenizer(name: str):
    """The tokenizer of ``"tiny"``, of a folder, or of a hub id; no weights are read or fetched.

    Raises ActFocusError for one that cannot be found or read.
    """
    folder = _named(name) if name in NAMES else Path(name)
    if base := _base_of(folder):
        return load_tokenizer(base)
    local = folder.is_dir()
    if not local and not _HUB_ID.fullmatch(name):
        raise ActFocusError(f"{name}: no such tokenizer; give {', '.join(map(repr, NAMES))}, a folder, "
                            "or a hub id such as Qwen/Qwen2.5-0.5B-Instruct")
    import transformers

    transformers.logging.set_verbosity_error()
    where = str(folder) if local else _fetched(name, _TOKENIZER_FILES)
    try:
        return transformers.AutoTokenizer.from_pretrained(where, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ActFocusError(f"{name}: not a tokenizer that can be loaded ({reason})") from None


def load_config(name: str):
    """The Hugging Face config of a policy, by the names ``load_policy`` takes; no weights are read or fetched.

    Raises ActFocusError for one that cannot be found or read.
    """
    folder = _named(name) if name in NAMES else Path(name)
    if base := _base_of(folder):
        return load_config(base)
    if not folder.is_dir() and not _HUB_ID.fullmatch(name):
        raise ActFocusError(f"{name}: no such policy; give {', '.join(map(repr, NAMES))}, a model folder, or a hub "
                            "id such as Qwen/Qwen2.5-0.5B-Instruct")
    import transformers

    where = str(folder) if folder.is_dir() else _fetched(name, _TOKENIZER_FILES)
    try:
        return transformers.AutoConfig.from_pretrained(where, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ActFocusError(f"{name}: not a policy that can be loaded ({reason})") from None


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
            raise ActFocusError(f"{hub_id}: neither in the local cache nor to be had from the model hub "
                                f"({type(error).__name__}); give {', '.join(map(repr, NAMES))} or a "
                                "model folder") from None


def device_of(wanted: str) -> str:
    """The device's name; "auto" is CUDA where there is one. Raises ActFocusError where there is none and it is asked for."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ActFocusError(f"device {wanted!r}: there is no CUDA GPU here; use cpu")
    return wanted


def _env_options(folder: Path) -> dict[str, dict]:
    file = folder / "actfocus.json"
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))["env_options"]
    except (ValueError, KeyError) as error:
        raise ActFocusError(f"{file}: no readable env_options ({error})") from None
