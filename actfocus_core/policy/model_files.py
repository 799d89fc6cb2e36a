"""Check a model folder before transformers or peft reads it; the folder may come from an untrusted source.

Both libraries call ``torch.load`` on a weights file whose name does not end in ``.safetensors``, even with
``use_safetensors=True``, and both block on a FIFO. Symbolic links are followed, since the hub's cache consists of them,
but not inside a run folder. Every function raises ActFocusError for a folder that is not safe to read.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from actfocus_core.errors import ActFocusError

SAFE = ".safetensors"
WEIGHTS, INDEX = f"model{SAFE}", f"model{SAFE}.index.json"
ADAPTER, ADAPTER_CONFIG = f"adapter_model{SAFE}", "adapter_config.json"
_TEMPLATES = "additional_chat_templates"
"""The only subfolder that is read (by tokenizers)."""


def check_regular(folder: Path) -> None:
    """Require that every file of the folder is, or links to, a regular file: reading anything else can block forever.

    In a run folder (its ``policy/``) links are refused as well, so that only the run's own files are read.
    """
    in_run = (folder.parent / "run.json").is_file()
    for path in (*folder.glob("*"), *(folder / _TEMPLATES).glob("*")):
        if in_run and path.is_symlink():
            raise ActFocusError(
                f"{path}: is a link, and links inside a run folder are not followed; copy the file there"
            )
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # A dangling link, for example: nothing can open it either.
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ActFocusError(f"{path}: is not a regular file; delete it, a model folder consists of regular files")


def check_weights(folder: Path, config: Any) -> None:
    """Require that all weights that ``from_pretrained`` loads, given the transformers ``config``, are safetensors files.

    These are ``model.safetensors``, or the files named by ``model.safetensors.index.json`` or by the config's
    ``transformers_weights``, and an adapter in the same folder.
    """
    where = folder / "config.json"
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        if "/" in str(attention := getattr(part, "_attn_implementation", None)):
            raise ActFocusError(
                f"{where}: attn_implementation {attention!r} is code on the model hub, which is not run; remove this entry"
            )
        weights_name = getattr(part, "transformers_weights", None)
        if str(weights_name).endswith(f"{SAFE}.index.json"):
            _check_index(folder / _plain_name(weights_name, where, f"{SAFE}.index.json"), read=True)
        elif weights_name is not None:
            _check_file(weights_name, where)
    if (folder / INDEX).is_file():
        _check_index(folder / INDEX, read=not (folder / WEIGHTS).is_file())
    if (folder / ADAPTER_CONFIG).is_file():
        check_adapter(folder)


def check_adapter(folder: Path) -> None:
    """Require that an adapter folder holds LoRA weights as ``adapter_model.safetensors`` and names no code."""
    if not (folder / ADAPTER).is_file():
        raise ActFocusError(f"{folder}: has no {ADAPTER}; save the adapter as safetensors")
    config = read_json(folder / ADAPTER_CONFIG)
    # Other adapter types may load further adapters from elsewhere (X-LoRA), and some cannot be merged.
    if config.get("peft_type") != "LORA":
        raise ActFocusError(
            f"{folder / ADAPTER_CONFIG}: peft_type {config.get('peft_type')!r} is not supported, only LORA is"
        )
    if config.get("megatron_config"):
        raise ActFocusError(
            f"{folder / ADAPTER_CONFIG}: megatron_config makes peft import a module by name; remove this entry"
        )


def read_json(file: Path) -> dict[str, Any]:
    """The object stored in a JSON file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ActFocusError(
            f"{file}: cannot be read as JSON ({type(error).__name__}); it must hold a JSON object"
        ) from None
    if not isinstance(content, dict):
        raise ActFocusError(f"{file}: holds {type(content).__name__}; it must hold a JSON object")
    return content


def _check_index(file: Path, read: bool) -> None:
    """``read``: transformers loads the files named by this index, so they must exist."""
    weight_map = read_json(file).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ActFocusError(f"{file}: has no weight_map; it must map each parameter to a {SAFE} file")
    names = {str(name) for name in weight_map.values()}
    for name in sorted(names):
        if read:
            _check_file(name, file)
        else:
            _plain_name(name, file)


def _check_file(name: str, where: Path) -> None:
    if not (where.parent / _plain_name(name, where)).is_file():
        raise ActFocusError(f"{where}: names {name!r}, which is not a file in this folder")


def _plain_name(name: object, where: Path, ending: str = SAFE) -> str:
    """The name as text, required to be a plain file name with this ending; ``where`` is the file that contains it."""
    name = str(name)
    if not name.endswith(ending) or name.startswith(".") or not name.isprintable() or set(name) & set("/\\:"):
        raise ActFocusError(f"{where}: names {name!r} as weights; only {SAFE} files in this folder are loaded")
    return name
