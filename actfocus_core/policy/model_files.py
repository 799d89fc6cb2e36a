"""Checks of a model folder before transformers or peft reads it; the folder may come from an untrusted source.

Both libraries call ``torch.load`` on a weights file whose name does not end in ``.safetensors``, even with
``use_safetensors=True``, and both block on a FIFO. Links are followed, since the hub's cache consists of them, but not inside a run folder.
Every function raises ActFocusError for a folder that must not be read.
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
"""The only subfolder that is read, by tokenizers."""


def check_regular(folder: Path) -> None:
    """Every file of the folder is, or links to, a regular file, so that reading it cannot block or go on forever.

    In a run folder (its ``policy/``) no file is a link either: what is read there is the run's own.
    """
    in_run = (folder.parent / "run.json").is_file()
    for path in (*folder.glob("*"), *(folder / _TEMPLATES).glob("*")):
        if in_run and path.is_symlink():
            raise ActFocusError(
                f"{path}: is a link, and links inside a run folder are not followed; copy the file there"
            )
        try:
            kind = path.stat().st_mode
        except OSError:
            continue  # A dangling link, for example: it cannot be opened either.
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise ActFocusError(f"{path}: is no regular file; delete it, a model folder consists of regular files")


def check_weights(folder: Path, config: Any) -> None:
    """Everything that ``from_pretrained`` loads from the folder, given its transformers config, is a safetensors file.

    It loads ``model.safetensors``, or the files that ``model.safetensors.index.json`` names, or what the config's
    ``transformers_weights`` names; and an adapter in the same folder.
    """
    where = folder / "config.json"
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        if "/" in str(attention := getattr(part, "_attn_implementation", None)):
            raise ActFocusError(
                f"{where}: attn_implementation {attention!r} is code on the model hub, which is not run; remove this entry"
            )
        named = getattr(part, "transformers_weights", None)
        if str(named).endswith(f"{SAFE}.index.json"):
            _check_index(folder / _plain(named, where, f"{SAFE}.index.json"), read=True)
        elif named is not None:
            _check_file(named, where)
    if (folder / INDEX).is_file():
        _check_index(folder / INDEX, read=not (folder / WEIGHTS).is_file())
    if (folder / ADAPTER_CONFIG).is_file():
        check_adapter(folder)


def check_adapter(folder: Path) -> None:
    """A folder with an ``adapter_config.json`` holds LoRA weights as ``adapter_model.safetensors``, and names no code."""
    if not (folder / ADAPTER).is_file():
        raise ActFocusError(f"{folder}: has no {ADAPTER}; save the adapter as safetensors")
    config = read_json(folder / ADAPTER_CONFIG)
    # Other types may load more adapters from other places (X-LoRA), and some cannot be merged into the weights.
    if config.get("peft_type") != "LORA":
        raise ActFocusError(
            f"{folder / ADAPTER_CONFIG}: peft_type {config.get('peft_type')!r} is not supported, only LORA is"
        )
    if config.get("megatron_config"):
        raise ActFocusError(
            f"{folder / ADAPTER_CONFIG}: megatron_config makes peft import a module by name; remove this entry"
        )


def read_json(file: Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object."""
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
    """``read``: transformers loads by this index, so the files it names must exist."""
    found = read_json(file).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise ActFocusError(f"{file}: has no weight_map; it must say in which {SAFE} file each parameter is")
    names = {str(name) for name in found.values()}
    for name in sorted(names):
        if read:
            _check_file(name, file)
        else:
            _plain(name, file)


def _check_file(name: str, where: Path) -> None:
    if not (where.parent / _plain(name, where)).is_file():
        raise ActFocusError(f"{where}: names {name!r}, which is not a file in this folder")


def _plain(name: object, where: Path, ending: str = SAFE) -> str:
    """The name, if it is that of a file in the folder of ``where``."""
    name = str(name)
    if not name.endswith(ending) or name.startswith(".") or not name.isprintable() or set(name) & set("/\\:"):
        raise ActFocusError(f"{where}: names {name!r} as weights; only {SAFE} files in this folder are loaded")
    return name
