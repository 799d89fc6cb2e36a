"""A credit setting as text to carry elsewhere: Python, the command line, TRL and verl.

``EXPORTS`` maps a name to a ``Text``. The first two run with this package as it is. The other two need the
plug-in that ``Text.needs`` names; ``installed`` says whether it is here, and so does the text itself.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actfocus_core.credit.weights import check_parameters
from actfocus_core.envs import ENVS
from actfocus_core.errors import ActFocusError
from actfocus_core.paths import appearing
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS
from actfocus_core.train.presets import preset


@dataclass(frozen=True)
class Setting:
    """ActFocus's parameters, and what they were tuned on. Raises ActFocusError for a value out of range."""

    alpha: float
    beta: float
    signal: str = "energy"
    env: str = ""
    """one of ENVS; empty where the rollouts come from somewhere else"""
    env_options: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    """a policy that ``actfocus train`` loads; empty for its default"""

    def __post_init__(self) -> None:
        check_parameters(self.alpha, self.beta)
        if self.signal not in SIGNALS:
            raise ActFocusError(f"unknown signal {self.signal!r}; there are {', '.join(SIGNALS)}")
        if self.env and self.env not in ENVS:
            raise ActFocusError(f"unknown environment {self.env!r}; there are {', '.join(ENVS)}")

    @property
    def params(self) -> dict[str, Any]:
        """The scheme's parameters, as ``get_scheme("actfocus").compute`` and ``TrainConfig.scheme_params`` take them."""
        return {"alpha": round(self.alpha, 6), "beta": round(self.beta, 6), "signal": self.signal}


def python_text(setting: Setting) -> str:
    """A script: the weights of a run's batch, and the factor that carries them into any trainer (method.md section 4)."""
    return f"""from actfocus_core.credit import Batch, get_scheme
from actfocus_core.runs import Run

SETTING = {setting.params!r}

run = Run.open("runs/NAME")
batch = Batch.of(run.trajectories(run.steps()[-1]))
weight = get_scheme("actfocus").compute(batch, **SETTING).weight

# In a trainer of your own: multiply the advantage of every token by this factor, after all
# advantage estimation, and take the ordinary mean of the clipped loss over the response tokens.
factor = weight * batch.response.sum() / weight.sum()
"""


def command_text(setting: Setting) -> str:
    """The command that trains with this setting."""
    words = [
        "actfocus train",
        f"--scheme actfocus --alpha {setting.params['alpha']:g} --beta {setting.params['beta']:g} "
        f"--signal {setting.signal}",
    ]
    if setting.env:
        words.append(f"--env {setting.env}")
        words += [f"--option {shlex.quote(f'{name}={json.dumps(value)}')}" for name, value in _unusual(setting).items()]
    if setting.model:
        words.append(f"--model {shlex.quote(setting.model)}")
    return " \\\n  ".join(words) + "\n"


def _unusual(setting: Setting) -> dict[str, Any]:
    """The environment's options that are not its defaults."""
    usual = ENVS[setting.env].Options.model_validate({}).model_dump(mode="json")
    return {name: value for name, value in setting.env_options.items() if name in usual and value != usual[name]}


def _paper(setting: Setting) -> tuple[dict[str, Any], int]:
    """The paper's setting for the environment, by default that of FrozenLake, and how many prompts its steps use."""
    values = preset("paper", setting.env or "frozen_lake")
    return values, values["steps"] * values["prompts"]


def trl_text(setting: Setting) -> str:
    """A script for TRL 1.16: the paper's batches, steps, rates and clip range, each batch in one update."""
    paper, count = _paper(setting)
    if setting.env:
        played = f"    env={setting.env!r},\n    env_options=OPTIONS,\n    train_dataset=boards({setting.env!r}, {count}, **OPTIONS),\n"
        made = f"OPTIONS = {_unusual(setting)!r}\n"
    else:
        played = (
            "    reward_funcs=REWARD,  # yours, like the prompts: a function as TRL takes it\n"
            "    train_dataset=PROMPTS,\n"
        )
        made = ""
    names = "ActFocusGRPOTrainer, boards" if setting.env else "ActFocusGRPOTrainer"
    return f"""{_plugin_line("trl")}
from trl import GRPOConfig

from actfocus_core.plugins.trl import {names}

{made}config = GRPOConfig(
    output_dir="actfocus-grpo",
    per_device_train_batch_size=16,
    gradient_accumulation_steps={paper["prompts"] * paper["rollouts"] // 16},  # on one GPU; on more, as many times fewer
    num_generations={paper["rollouts"]},
    max_steps={paper["steps"]},
    learning_rate={paper["lr"]:g},
    epsilon={paper["clip_low"]},
    epsilon_high={paper["clip_high"]},
    beta={paper.get("kl_coef", 0.0)},  # TRL's beta is the weight of its KL term, not this method's
    logging_steps=1,
)
trainer = ActFocusGRPOTrainer(
    {(setting.model or "tiny")!r},
{played}    args=config,
    scheme_params={setting.params!r},
    run="runs/trl",  # the studio follows it there
)
trainer.train()
"""


_KL_OF_VERL = {"k1": "kl", "k2": "mse", "k3": "low_var_kl"}


def verl_text(setting: Setting) -> str:
    """A command for verl 0.9: GRPO with the paper's batches, steps, rates and clip range, the setting in the environment."""
    paper, count = _paper(setting)
    model = shlex.quote(setting.model) if setting.model else '"$MODEL"'
    first, files, played = "", '"$PROMPTS"', []
    if setting.env:
        call = f"prompts({setting.env!r}, {count}, 'prompts.parquet', **{_unusual(setting)!r})"
        first = f"python -c {shlex.quote(f'from actfocus_core.plugins.verl_ray import prompts; {call}')}\n"
        files, played = "prompts.parquet", ["actor_rollout_ref.rollout.agent.default_agent_loop=actfocus"]
    # The dialogue's opening, and all of it together: method.md section 6.
    opening, context = (2048, 8192) if setting.env == "webshop" else (1024, 3600)
    settings = [
        "trainer.v1.trainer_mode=actfocus",
        "algorithm.adv_estimator=grpo",
        "+actor_rollout_ref.model.model_type=actfocus",
        "actor_rollout_ref.actor.policy_loss.loss_mode=actfocus",
        "actor_rollout_ref.actor.loss_agg_mode=token-mean",
        f"actor_rollout_ref.actor.clip_ratio_low={paper['clip_low']}",
        f"actor_rollout_ref.actor.clip_ratio_high={paper['clip_high']}",
        f"actor_rollout_ref.actor.optim.lr={paper['lr']:g}",
        f"actor_rollout_ref.actor.entropy_coeff={paper['entropy_coef']}",
        # verl starts the reference only for a KL term; with coefficient 0 it leaves the loss as it is.
        "actor_rollout_ref.actor.use_kl_loss=True",
        f"actor_rollout_ref.actor.kl_loss_coef={paper.get('kl_coef', 0)}",
        f"actor_rollout_ref.actor.kl_loss_type={_KL_OF_VERL[paper.get('kl_kind', 'k3')]}",
        f"data.train_batch_size={paper['prompts']}",
        f"actor_rollout_ref.rollout.n={paper['rollouts']}",
        # verl counts the prompts of a mini-batch, the paper its trajectories.
        f"actor_rollout_ref.actor.ppo_mini_batch_size={paper['minibatch'] // paper['rollouts']}",
        "actor_rollout_ref.actor.use_dynamic_bsz=True",
        "actor_rollout_ref.model.use_fused_kernels=False",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
        "actor_rollout_ref.rollout.temperature=1.0",
        f"data.max_prompt_length={opening}",
        f"data.max_response_length={context - opening}",
        f"actor_rollout_ref.model.path={model}",
        f"data.train_files={files}",
        f"data.val_files={files}",
        *played,
        f"trainer.total_training_steps={paper['steps']}",
        "trainer.val_before_train=False",
        "'trainer.logger=[console]'",
        '"trainer.n_gpus_per_node=${GPUS:-8}"',
    ]
    lines = [
        "VERL_USE_EXTERNAL_MODULES=actfocus_core.plugins.verl_ray",
        f"ACTFOCUS_PARAMS={shlex.quote(json.dumps(setting.params))}",
        "ACTFOCUS_RUN=runs/verl",
        "python -m verl.trainer.main_ppo",
        *(f"  {line}" for line in settings),
    ]
    return _plugin_line("verl_ray") + "\n" + first + " \\\n".join(lines) + "\n"


def _plugin_line(name: str) -> str:
    found = "" if _installed(f"actfocus_core.plugins.{name}") else ", which this version does not have"
    return f"# Needs the plug-in actfocus_core.plugins.{name}{found}."


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True)
class Text:
    """One way of writing a setting down."""

    title: str
    write: Callable[[Setting], str]
    needs: str = ""
    """the module it cannot do without, beyond this package"""

    @property
    def installed(self) -> bool:
        return not self.needs or _installed(self.needs)


EXPORTS = {
    "python": Text("Python", python_text),
    "command": Text("Command line", command_text),
    "trl": Text("TRL", trl_text, "actfocus_core.plugins.trl"),
    "verl": Text("verl", verl_text, "actfocus_core.plugins.verl_ray"),
}
SETTING_FORMATS = {"trl": ".trl.py", "verl": ".verl.sh"}
"""What ``export_setting`` writes, and how the file's name ends."""


def setting_of(run: Run, params: dict[str, Any] | None = None) -> Setting:
    """A run's environment and model, and its own ActFocus parameters or the scheme's; ``params`` go before both.

    Raises ActFocusError for a parameter out of range.
    """
    metadata = run.metadata
    own = metadata.scheme_params if metadata.scheme == "actfocus" else {}
    chosen: dict[str, Any] = {"alpha": 0.1, "beta": 0.5, "signal": "energy"} | {
        k: v for k, v in own.items() if k in ("alpha", "beta", "signal")
    }
    return Setting(
        **chosen | (params or {}),
        env=metadata.env if metadata.env in ENVS else "",
        env_options=metadata.env_options or {},
        model=metadata.model_name or "",
    )


def export_setting(run: Run, out: str | Path | None, format: str, params: dict[str, Any] | None = None) -> Path:
    """Write what starts TRL or verl with a run's setting, one of SETTING_FORMATS, to a new file.

    Raises ActFocusError where the file exists or cannot be written, or a parameter is out of range.
    """
    out = Path(out) if out else Path(run.name + SETTING_FORMATS[format])
    if out.exists():
        raise ActFocusError(f"{out}: already exists; choose another name")
    text = EXPORTS[format].write(setting_of(run, params))
    try:
        with appearing(out) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ActFocusError(f"{out}: cannot be written ({error.strerror or error})") from None
    return out
