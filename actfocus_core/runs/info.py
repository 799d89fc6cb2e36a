"""run.json: the metadata of a run, as a dictionary and as typed objects.

Writers fill the dictionary ``Run.info``. Readers use ``Run.metadata``, a ``RunInfo``, which answers every question (which
model, which options, was it trained) in one place for all kinds of runs.
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
"""Version of run.json and of the folder layout."""
SCHEMA = 2
"""Version of the trajectory columns. A run that states none has schema 1."""

# --- types of the entries ----------------------------------------------------------------------

# Strict entries: a value of another type is an error. Checked by isinstance, since JSON text may contain lone surrogates,
# which pydantic's str rejects.
Text = InstanceOf[str] | None
Object = InstanceOf[dict[str, Any]] | None


def _only(kind: type) -> BeforeValidator:
    """A value of another type counts as not stated, since version 1 did not check these entries."""
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

# --- config: a union over the commands that write runs -----------------------------------------


class Config(BaseModel):
    """The entries that any run may have; subclasses add those of their writers."""

    model_config = ConfigDict(frozen=True)

    weights_move: ClassVar[bool] = False
    """whether the weights were updated between steps"""
    adds_to_model_options: ClassVar[bool] = False
    """whether ``env_options`` contains only differences from the options the model was trained with"""

    command: Text = None
    env: Text = None
    policy: Text = None
    """the model that sampled, a name for ``load_policy``"""
    model: Text = None
    """the initial model of the training, which is also the frozen reference"""
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
    """fraction of the groups selected for the update"""
    approximate: LooseFlag = None
    """whether text was tokenised again, so that ids may differ from the sampled ones"""

    def updates_before(self, step: int) -> int:
        """The number of updates between the initial model and the weights that sampled a step."""
        return 0


class Rollouts(Config):
    """``actfocus rollout``: one policy with constant weights."""

    command: Literal["rollout"]


class Training(Config):
    """``actfocus train``."""

    weights_move: ClassVar[bool] = True
    adds_to_model_options: ClassVar[bool] = True

    command: Literal["train"]

    def updates_before(self, step: int) -> int:
        # Steps count from 1, and the first is sampled by the initial model.
        return max(0, step - 1)


class External(Config):
    """Training by another trainer with a plug-in that writes the run folder."""

    weights_move: ClassVar[bool] = True

    command: Literal["trl", "verl"]

    def updates_before(self, step: int) -> int:
        return max(0, step - 1)


class Evaluation(Config):
    """The evaluations of a training run, stored in a subfolder."""

    weights_move: ClassVar[bool] = True

    command: Literal["evaluate"]

    def updates_before(self, step: int) -> int:
        # Evaluations follow the update of the step; step 0 precedes the first update.
        return max(0, step)


class Import(Config):
    """Rollouts imported from files of another program."""

    command: Literal["import"]
    format: LooseText = None
    source: LooseText = None
    reward_columns: LooseTexts = ()
    numeric_columns: LooseTexts = ()
    reward_columns_by: LooseText = None
    """how the reward columns of TRL's files were identified"""
    left_out: LooseObject = None
    """kind of item that was not imported -> number"""
    left_out_examples: LooseObject = None
    """kind of item that was not imported -> where the first is, or its error"""
    spans_by: LooseText = None
    """``given`` by the user, or chosen by the ``content``"""
    action_tokens_by_rule: LooseObject = None
    """span rule -> number of action tokens that it finds in the first replies"""
    replies_examined: LooseInteger = None
    """number of these replies"""
    environment_spans: LooseText = None
    """what counts as written by the environment inside a reply"""
    environment_text: LooseObject = None
    """name of such text -> how often it was found"""
    success_at: LooseNumber = None
    """smallest reward that counts as success where the files do not state success"""
    success_by: LooseObject = None
    """``file``, ``reward`` (by ``success_at``) or ``unknown`` -> number of rollouts"""
    foreign_ids: LooseObject = None
    """``rollouts`` of the number ``of`` with texts beside their ids that the ids do not decode to, and the first ``example``"""


class Other(Config):
    """Any other writer, for instance a script of the user."""


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
    """The tag of the class for a config, given as a dictionary or as an object."""
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

# --- metadata ----------------------------------------------------------------------------------


class Model(BaseModel):
    """The model that the writer loaded."""

    model_config = ConfigDict(frozen=True)

    name: Text = None
    fingerprint: Text = None
    """of the initial weights (``Policy.fingerprint``)"""


class RunInfo(BaseModel):
    """The metadata in run.json. Properties are None or empty if the file does not state them."""

    model_config = ConfigDict(frozen=True)

    config: AnyConfig
    model: Model
    created: LooseText = None
    schema_number: int = 1
    """version of the trajectory columns, 1 to SCHEMA"""
    provenance: Provenance = Provenance()
    """the sources of ids, kinds, mask, groups, rewards and log-probs"""
    config_as_written: InstanceOf[dict[str, Any]]
    """the complete config, including entries unknown to this version"""

    @classmethod
    def of(cls, info: dict[str, Any], file: Path) -> RunInfo:
        """Validate the content of run.json. Raises ActFocusError, naming ``file``, for an entry of the wrong type."""
        config, model = _part(info, "config", file), _part(info, "model", file)
        number = _schema(info, file)
        provenance = info.get("provenance")
        stated = {
            "config": config,
            "model": model,
            "created": info.get("created"),
            "config_as_written": config,
            "schema_number": number,
            "provenance": Provenance.of(provenance, str(file))
            if provenance is not None
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
        """The policy that sampled the rollouts; for a training run, the initial one.

        ``config.policy`` is the sampler by definition. ``config.model`` of a training run is an absolute path, while
        ``model.name`` is the path as typed by the user, so the latter comes last.
        """
        return self.config.policy or self.config.model or self.model.name or None

    @property
    def reference(self) -> str | None:
        """The default reference model: the frozen reference of a training run, otherwise the policy."""
        return self.config.model or self.model_name

    @property
    def tokenizer(self) -> str | None:
        """The model whose tokenizer produced the ids: the one named in the config, otherwise the policy."""
        return self.config.tokenizer or self.model_name

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the initial weights."""
        return self.model.fingerprint or None

    @property
    def env(self) -> str | None:
        """The environment of all its rollouts."""
        return self.config.env or None

    @property
    def env_options(self) -> dict[str, Any] | None:
        """The environment options as stored: None if not stated, {} if there are none.

        A training run stores only differences from the options of its model; ``oracle.stored.env_options`` has all of them.
        """
        return self.config.env_options

    @property
    def spans(self) -> str:
        """The span rule that located reasoning and actions in the replies."""
        return self.config.spans or DEFAULT.name

    @property
    def algorithm(self) -> str | None:
        return self.config.algorithm or None

    @property
    def scheme(self) -> str | None:
        """The credit scheme of the training."""
        return self.config.scheme or None

    @property
    def scheme_params(self) -> dict[str, Any]:
        """Parameters in place of the scheme's defaults."""
        return self.config.scheme_params or {}

    @property
    def temperature(self) -> float:
        """The sampling temperature; 1 if not stated (``config.temperature`` is then None)."""
        return 1.0 if self.config.temperature is None else self.config.temperature

    @property
    def approximate(self) -> bool:
        """Whether any text was tokenised again."""
        return self.config.approximate is True

    @property
    def weights_move(self) -> bool:
        """Whether the weights were updated between steps."""
        return self.config.weights_move

    def updates_before(self, step: int) -> int:
        """The number of updates between ``model_name`` and the weights that sampled a step."""
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
            f'{file}: "schema" is {str(number)[:40]}, and this version of actfocus reads up to {SCHEMA}; upgrade actfocus to open the run'
        )
    return number


# --- the file ----------------------------------------------------------------------------------


def read_info(file: Path) -> dict[str, Any]:
    """Read and validate run.json; missing parts become empty objects. Raises ActFocusError if it is not valid."""
    try:
        info = read_json(file)
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ActFocusError(f"{file}: not readable JSON ({error})") from None
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise ActFocusError(f'{file}: "format" is not "{FORMAT}"; this is not an actfocus run')
    if info.get("version") != VERSION:
        raise ActFocusError(
            f'{file}: "version" is {info.get("version")!r}; this version of actfocus reads version {VERSION}'
        )
    info |= {name: _part(info, name, file) for name in ("config", "model", "versions")}
    RunInfo.of(info, file)
    return info


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """Write run.json atomically and durably. Raises OSError where it cannot be written."""
    with atomic_write(folder / "run.json", durable=True) as part:
        part.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """The versions of actfocus, Python and the main libraries that are installed."""
    names = ("torch", "transformers", "numpy", "pyarrow")
    installed = {"actfocus": actfocus_core.__version__, "python": platform.python_version()}
    for name in names:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
