"""Recipes: a credit setting as a script or command for this package, TRL or verl.

``EXPORTS`` maps a name to a ``Recipe``. The first two need this package alone, the other two also the plug-in that
``Recipe.needs`` names; ``Recipe.installed`` and a comment in the script say whether it is installed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actfocus_core.credit import get_scheme
from actfocus_core.credit.weights import check_parameters
from actfocus_core.envs import ENVS
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.scripts import script
from actfocus_core.paths import atomic_write
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS
from actfocus_core.train.presets import preset


@dataclass(frozen=True)
class Setting:
    """ActFocus's parameters, and the environment and model of the run. Raises ActFocusError for a value out of range."""

    alpha: float
    beta: float
    signal: str = "energy"
    env: str = ""
    """one of ENVS; empty for rollouts of another environment"""
    env_options: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    """a policy that ``actfocus train`` can load; empty for its default"""

    def __post_init__(self) -> None:
        check_parameters(self.alpha, self.beta)
        if self.signal not in SIGNALS:
            raise ActFocusError(f"unknown signal {self.signal!r}; choose one of {', '.join(SIGNALS)}")
        if self.env and self.env not in ENVS:
            raise ActFocusError(f"unknown environment {self.env!r}; choose one of {', '.join(ENVS)}")

    @property
    def params(self) -> dict[str, Any]:
        """The scheme's parameters, as ``get_scheme("actfocus").compute`` and ``TrainConfig.scheme_params`` take them."""
        return {"alpha": round(self.alpha, 6), "beta": round(self.beta, 6), "signal": self.signal}


def python_text(setting: Setting) -> str:
    """A script that computes the weights of a run's batch, and the factor for any other trainer (method.md, section 4)."""
    return script("python.py.j2", params=setting.params)


def command_text(setting: Setting) -> str:
    """The command that trains with this setting."""
    options = [f"{name}={json.dumps(value)}" for name, value in _changed_options(setting).items()]
    return script("command.sh.j2", params=setting.params, env=setting.env, options=options, model=setting.model)


def trl_text(setting: Setting) -> str:
    """A script for TRL 1.16 with the paper's batch size, steps, learning rate and clip range; one update per batch."""
    return script(
        "trl.py.j2",
        **_shared(setting),
        installed=_installed("actfocus_core.plugins.trl"),
        model=setting.model or "tiny",
    )


def verl_text(setting: Setting) -> str:
    """A command for verl 0.9: GRPO with the paper's batch size, steps, learning rate and clip range.

    The scheme's parameters are passed in the environment variable ACTFOCUS_PARAMS.
    """
    values = _shared(setting)
    # Tokens of the initial prompt and of the whole dialogue: method.md, section 6.
    prompt_tokens, context_tokens = (2048, 8192) if setting.env == "webshop" else (1024, 3600)
    return script(
        "verl.sh.j2",
        **values,
        installed=_installed("actfocus_core.plugins.verl_ray"),
        model=setting.model,
        kl_loss_type=_KL_OF_VERL[values["paper"].get("kl_kind", "k3")],
        prompt_tokens=prompt_tokens,
        context_tokens=context_tokens,
    )


_KL_OF_VERL = {"k1": "kl", "k2": "mse", "k3": "low_var_kl"}
"""Estimators of the KL divergence by verl's names."""


def _shared(setting: Setting) -> dict[str, Any]:
    """Values that the start scripts of TRL and verl share.

    ``paper`` holds the paper's values for the environment, those of FrozenLake by default; ``prompts`` is how many
    prompts its steps use.
    """
    paper = preset("paper", setting.env or "frozen_lake")
    return {
        "params": setting.params,
        "env": setting.env,
        "options": _changed_options(setting),
        "paper": paper,
        "prompts": paper["steps"] * paper["prompts"],
    }


def _changed_options(setting: Setting) -> dict[str, Any]:
    """The options of the environment that differ from its defaults; none where there is no environment."""
    if not setting.env:
        return {}
    defaults = ENVS[setting.env].Options.model_validate({}).model_dump(mode="json")
    return {name: value for name, value in setting.env_options.items() if name in defaults and value != defaults[name]}


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True)
class Recipe:
    """One format in which a setting can be written."""

    title: str
    write: Callable[[Setting], str]
    needs: str = ""
    """the module it needs beyond this package's core; empty for none"""

    @property
    def installed(self) -> bool:
        return not self.needs or _installed(self.needs)


EXPORTS = {
    "python": Recipe("Python", python_text),
    "command": Recipe("Command line", command_text),
    "trl": Recipe("TRL", trl_text, "actfocus_core.plugins.trl"),
    "verl": Recipe("verl", verl_text, "actfocus_core.plugins.verl_ray"),
}
SETTING_FORMATS = {"trl": ".trl.py", "verl": ".verl.sh"}
"""Formats that ``export_setting`` writes, with the suffix of the file's name."""


def setting_of(run: Run, params: dict[str, Any] | None = None) -> Setting:
    """The setting of a run: its environment and model, and ActFocus's parameters.

    ``params`` override the run's own parameters, and these the scheme's defaults. Raises ActFocusError for a
    parameter out of range.
    """
    metadata = run.metadata
    recorded = metadata.scheme_params if metadata.scheme == "actfocus" else {}
    values = get_scheme("actfocus").defaults | recorded
    return Setting(
        **{name: values[name] for name in ("alpha", "beta", "signal")} | (params or {}),
        env=metadata.env if metadata.env in ENVS else "",
        env_options=metadata.env_options or {},
        model=metadata.model_name or "",
    )


def export_setting(run: Run, out: str | Path | None, format: str, params: dict[str, Any] | None = None) -> Path:
    """Write the start script of TRL or verl for a run's setting to a new file, and return its path.

    ``format``: a key of SETTING_FORMATS. Raises ActFocusError if the file exists or cannot be written, or a parameter
    is out of range.
    """
    out = Path(out) if out else Path(run.name + SETTING_FORMATS[format])
    if out.exists():
        raise ActFocusError(f"{out}: already exists; choose another name")
    text = EXPORTS[format].write(setting_of(run, params))
    try:
        with atomic_write(out) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ActFocusError(f"{out}: cannot be written ({error.strerror or error})") from None
    return out
