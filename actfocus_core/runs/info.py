"""run.json: what made a run, as it is written and as typed metadata.

A writer fills the dictionary ``Run.info``. A reader asks ``Run.metadata``, a ``RunInfo``: each question (which
model, which options, was it trained) has one answer there, whatever made the run.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, InstanceOf, Tag, ValidationError

import actfocus_core
from actfocus_core.errors import ActFocusError
from actfocus_core.files import read_json
from actfocus_core.paths import atomic_write
from actfocus_core.runs.provenance import Provenance
from actfocus_core.spans import DEFAULT

FORMAT = "actfocus-run"
VERSION = 1
"""Of run.json and the folder."""
SCHEMA = 2
"""Of the trajectories: the columns that are written. A run that states none is of schema 1."""

# --- types of the entries ----------------------------------------------------------------------

# Checked: another type makes the whole run unreadable. By isinstance, since JSON may hold text that is not Unicode (a
# lone surrogate), which pydantic's own str refuses.
Text = InstanceOf[str] | None
Object = InstanceOf[dict[str, Any]] | None


def _only(kind: type) -> BeforeValidator:
    """A value of another type counts as not stated: version 1 never checked these entries."""
    return BeforeValidator(lambda value: value if type(value) is kind else None)


def _finite(value: Any) -> float | None:
    try:
        return float(value) if type(value) in (int, float) and math.isfinite(value) else None
    except OverflowError:  # an integer of more than 308 digits
        return None


def _words(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list | tuple) else ()


LooseText = Annotated[InstanceOf[str] | None, _only(str)]
LooseObject = Annotated[InstanceOf[dict[str, Any]] | None, _only(dict)]
LooseNumber = Annotated[float | None, BeforeValidator(_finite)]
LooseInteger = Annotated[InstanceOf[int] | None, _only(int)]
LooseFlag = Annotated[bool | None, _only(bool)]
LooseTexts = Annotated[tuple[InstanceOf[str], ...], BeforeValidator(_words)]

# --- config: a union over what made the run ----------------------------------------------------


class Config(BaseModel):
    """What any run may state about how it was made; the subclasses add what their writers know."""

    model_config = ConfigDict(frozen=True)

    weights_move: ClassVar[bool] = False
    """whether later steps were sampled by other weights than the first"""
    adds_to_model_options: ClassVar[bool] = False
    """whether ``env_options`` holds only what differs from the options the model was trained with"""

    command: Text = None
    env: Text = None
    policy: Text = None
    """the model that sampled, as ``load_policy`` knows it"""
    model: Text = None
    """the model that training began with, which is the frozen reference too"""
    scheme: Text = None
    tokenizer: Text = None
    spans: Text = None
    stamp: Text = None
    algorithm: Text = None
    env_options: Object = None
    scheme_params: Object = None
    temperature: LooseNumber = None
    seed: LooseInteger = None
    filter_share: LooseNumber = None
    """share of the groups that were kept for the update"""
    approximate: LooseFlag = None
    """whether text was tokenised again, so that ids may differ from those that were sampled"""

    def updates_before(self, step: int) -> int:
        """How many updates lie between the model the run began with and the weights that sampled a step."""
        return 0


class Rollouts(Config):
    """``actfocus rollout``: one policy, whose weights stay."""

    command: Literal["rollout"]


class Training(Config):
    """``actfocus train``."""

    weights_move: ClassVar[bool] = True
    adds_to_model_options: ClassVar[bool] = True

    command: Literal["train"]

    def updates_before(self, step: int) -> int:
        # Steps count from 1, and the first is sampled by the model the run began with.
        return max(0, step - 1)


class External(Config):
    """Training by another trainer, with a plug-in that writes the folder."""

    weights_move: ClassVar[bool] = True

    command: Literal["trl", "verl"]

    def updates_before(self, step: int) -> int:
        return max(0, step - 1)


class Evaluation(Config):
    """The evaluations of a training run, in a folder of their own below it."""

    weights_move: ClassVar[bool] = True

    command: Literal["evaluate"]

    def updates_before(self, step: int) -> int:
        # Evaluated after the update of the step; step 0 stands before the first one.
        return max(0, step)


class Import(Config):
    """Rollouts that another program wrote."""

    command: Literal["import"]
    format: LooseText = None
    source: LooseText = None
    reward_columns: LooseTexts = ()
    numeric_columns: LooseTexts = ()
    reward_columns_by: LooseText = None
    """how TRL's reward columns were found"""
    left_out: LooseObject = None
    """what was no rollout to train on, and how many of it"""


class Other(Config):
    """Anything else, for instance a script of the user's."""


_KINDS = {
    "rollout": "rollouts",
    "train": "training",
    "trl": "external",
    "verl": "external",
    "evaluate": "evaluation",
    "import": "import",
}
"""``command`` of a config -> the tag of its class."""


def _kind(config: Any) -> str:
    """The tag of the class that reads a config, or that it was read by."""
    command = config.get("command") if isinstance(config, dict) else getattr(config, "command", None)
    return _KINDS.get(command, "other") if isinstance(command, str) else "other"


AnyConfig = Annotated[
    Annotated[Rollouts, Tag("rollouts")]
    | Annotated[Training, Tag("training")]
    | Annotated[External, Tag("external")]
    | Annotated[Evaluation, Tag("evaluation")]
    | Annotated[Import, Tag("import")]
    | Annotated[Other, Tag("other")],
    Discriminator(_kind),
]

# --- the whole ---------------------------------------------------------------------------------


class Model(BaseModel):
    """The model as the writer had it loaded."""

    model_config = ConfigDict(frozen=True)

    name: Text = None
    fingerprint: Text = None
    """of the weights the run began with (``Policy.fingerprint``)"""


class RunInfo(BaseModel):
    """What run.json states. A property is None, or empty, where the file does not say."""

    model_config = ConfigDict(frozen=True)

    config: AnyConfig
    model: Model
    created: LooseText = None
    schema_number: int = 1
    """the columns its trajectories may have: 1, or SCHEMA"""
    provenance: Provenance = Provenance()
    """where ids, kinds, mask, groups, rewards and log-probs come from"""
    config_as_written: InstanceOf[dict[str, Any]]
    """all of the config, with the entries that are unknown here"""

    @classmethod
    def of(cls, info: dict[str, Any], file: Path) -> RunInfo:
        """Raises ActFocusError, with the name of the file, for an entry of the wrong type."""
        config, model = _part(info, "config", file), _part(info, "model", file)
        number = _schema(info, file)
        given = info.get("provenance")
        stated = {
            "config": config,
            "model": model,
            "created": info.get("created"),
            "config_as_written": config,
            "schema_number": number,
            "provenance": Provenance.of(given, str(file))
            if given is not None
            else Provenance.all_recorded()
            if number == 1
            else Provenance(),
        }
        try:
            return cls.model_validate(stated)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            part, name = first["loc"][0], first["loc"][-1]
            kind = "an object" if name in ("env_options", "scheme_params") else "text"
            raise ActFocusError(f'{file}: "{name}" in "{part}" must be {kind}') from None

    @property
    def model_name(self) -> str | None:
        """The policy that wrote the rollouts: of a training run, the one it began with.

        ``policy`` is what sampled by definition. ``model`` of a training run is an absolute folder, while the
        recorded name is the folder as it was typed, so the latter comes last.
        """
        return self.config.policy or self.config.model or self.model.name or None

    @property
    def reference(self) -> str | None:
        """The model that scores the rollouts where none is named: a training run's frozen reference, else the policy."""
        return self.config.model or self.model_name

    @property
    def tokenizer(self) -> str | None:
        """Whose tokenizer the ids belong to: the one that was named, else the policy's."""
        return self.config.tokenizer or self.model_name

    @property
    def fingerprint(self) -> str | None:
        """Of the weights the run began with."""
        return self.model.fingerprint or None

    @property
    def env(self) -> str | None:
        """The environment of all its rollouts."""
        return self.config.env or None

    @property
    def env_options(self) -> dict[str, Any] | None:
        """The options as they are stored; None where the file does not say, {} where it says: no others.

        ``oracle.stored.env_options`` has all of them: a training run stores what differs from its model's own.
        """
        return self.config.env_options

    @property
    def spans(self) -> str:
        """The span rule that found reasoning and actions in the replies."""
        return self.config.spans or DEFAULT.name

    @property
    def algorithm(self) -> str | None:
        return self.config.algorithm or None

    @property
    def scheme(self) -> str | None:
        """The credit scheme it was trained with."""
        return self.config.scheme or None

    @property
    def scheme_params(self) -> dict[str, Any]:
        """Those given in place of the scheme's own."""
        return self.config.scheme_params or {}

    @property
    def temperature(self) -> float:
        """Of the sampling; 1 is assumed where the file does not say (``config.temperature`` is None then)."""
        return 1.0 if self.config.temperature is None else self.config.temperature

    @property
    def approximate(self) -> bool:
        """Whether any text was tokenised again."""
        return self.config.approximate is True

    @property
    def weights_move(self) -> bool:
        """Whether it was trained: later steps were sampled by other weights than the first."""
        return self.config.weights_move

    def updates_before(self, step: int) -> int:
        """How many updates lie between ``model_name`` and the weights that sampled a step."""
        return self.config.updates_before(step)


def _part(info: dict[str, Any], name: str, file: Path) -> dict[str, Any]:
    part = info.get(name)
    if part is None:
        return {}
    if not isinstance(part, dict):
        raise ActFocusError(f'{file}: "{name}" must be an object')
    return part


def _schema(info: dict[str, Any], file: Path) -> int:
    number = info.get("schema", 1)
    if type(number) is not int or number < 1:
        raise ActFocusError(f'{file}: "schema" is {str(number)[:40]!r}; it must be a whole number from 1 to {SCHEMA}')
    if number > SCHEMA:
        raise ActFocusError(
            f'{file}: "schema" is {str(number)[:40]}, and this actfocus reads up to {SCHEMA}; upgrade actfocus to open the run'
        )
    return number


# --- the file ----------------------------------------------------------------------------------


def read_info(file: Path) -> dict[str, Any]:
    """A checked run.json: what the readers take from it has its type, and parts that are missing are empty."""
    try:
        info = read_json(file)
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ActFocusError(f"{file}: not readable JSON ({error})") from None
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise ActFocusError(f'{file}: "format" is not "{FORMAT}"; this is not a run of actfocus')
    if info.get("version") != VERSION:
        raise ActFocusError(f'{file}: "version" is {info.get("version")!r}; this actfocus reads version {VERSION}')
    info |= {name: _part(info, name, file) for name in ("config", "model", "versions")}
    RunInfo.of(info, file)
    return info


def write_info(folder: Path, info: dict[str, Any]) -> None:
    with atomic_write(folder / "run.json", durable=True) as part:
        part.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    names = ("torch", "transformers", "numpy", "pyarrow")
    found = {"actfocus": actfocus_core.__version__, "python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
