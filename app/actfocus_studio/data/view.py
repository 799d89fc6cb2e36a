"""The view of a page as a readable query string.

Every value that comes in is hostile until it is in a ``View``: names are cut to a length,
numbers are finite and in range, choices are known ones. What is not valid is its default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from actfocus_core.counterfactual.store import is_id
from actfocus_core.credit import CONTROLS, SCHEMES
from actfocus_core.signals import SIGNALS
from actfocus_studio.data.message import Request

Scope = Literal["batch", "group", "trajectory"]
Colour = Literal["weight", "kind", "energy", "entropy", "nll", "credit"]
Filter = Literal["all", "success", "failure", "malformed"]
Tab = Literal["trace", "rollouts", "compare", "groups", "tune", "train", "learn"]
Over = Literal["step", "all"]
Measure = Literal["energy", "centred_energy", "entropy", "policy_entropy"]
Keep = Literal["", "0.1", "0.25", "0.5", "0.75"]
Ribbons = Literal["kind", "weight"]
Export = Literal["python", "command", "trl", "verl"]
Text = Literal["", "messages", "rendered"]
Panel = Literal["replay", "branch", "edit", "motion"]
Within = Literal["", "reasoning", "action", "observation"]
Listed = Literal["rollouts", "tokens"]
End = Literal["high", "low"]
TokenKindName = Literal["", "reasoning", "action", "format"]
SCOPES, COLOURS, FILTERS, TABS = get_args(Scope), get_args(Colour), get_args(Filter), get_args(Tab)
OVERS, MEASURES, KEEPS, RIBBONS = get_args(Over), get_args(Measure), get_args(Keep), get_args(Ribbons)
EXPORTS, PANELS = get_args(Export), get_args(Panel)
"""PANELS: the forms of the What-if panel; otherwise it shows a stored answer, by its id."""
ONLY = ("success", "failure", "unknown", "malformed", "truncated")
"""Conditions of the list of rollouts that need no value. The first three are of one kind: a rollout meets one of those given."""
TUNED = "actfocus"
"""The scheme that follows the controls in the sidebar; all others have their own defaults."""
KEPT = "kept"
"""The scheme of a pane that is ActFocus with setting B."""
COMPARED = (*SCHEMES, *(f"{control}:{scheme}" for scheme in SCHEMES for control in CONTROLS))
"""Schemes and their null controls."""
STAGES = 9
"""Steps of the walkthrough."""
BESIDE_MAX, USUAL = 8, "usual"
"""Most rollouts of a group side by side, and what stands for those that the page chooses."""
ALPHA_MAX, BETA_MAX = 1.0, 2.0
NAME_MAX = 200
WHERE_MAX = 600
"""Maximum length of an expression in characters."""
COLUMNS_MAX = 60
"""Maximum number of columns of the list."""
INDEX_MAX = 10_000_000


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("must be printable text")
    return value[:NAME_MAX]


def _whole_text(longest: int) -> Any:
    """Printable text that is not cut: half an expression would be another one."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value.isprintable() or len(value) > longest:
            raise ValueError(f"must be printable text of at most {longest} characters")
        return value

    return check


def _only(value: object) -> str:
    """Some of ONLY, separated by commas; in their order and each once."""
    parts = value.split(",") if isinstance(value, str) and value else []
    if not isinstance(value, str) or not set(parts) <= set(ONLY):
        raise ValueError("must be known conditions")
    return ",".join(name for name in ONLY if name in parts)


def _column_names(value: object) -> str:
    """Names of columns, separated by commas, each once."""
    names = list(dict.fromkeys(_whole_text(WHERE_MAX)(value).split(",")))
    if len(names) > COLUMNS_MAX or (not all(names) and value):
        raise ValueError("must be names of columns")
    return ",".join(names)


def _kept(value: object) -> str:
    """A setting in the form of ``View.kept``, if all five parts are valid."""
    parts = value.split(",") if isinstance(value, str) and len(value) <= NAME_MAX else []
    if len(parts) != 5 or parts[2] not in SIGNALS or parts[3] not in SCOPES or parts[4] not in ("0", "1"):
        raise ValueError("must be a setting")
    alpha, beta = _number(ALPHA_MAX)(parts[0]), _number(BETA_MAX)(parts[1])
    return f"{alpha:g},{beta:g},{','.join(parts[2:])}"


def _places(value: object) -> str:
    """Two to BESIDE_MAX different positions, separated by commas; or USUAL, or nothing."""
    if value in ("", USUAL):
        return str(value)
    places = value.split(",") if isinstance(value, str) and len(value) <= NAME_MAX else []
    if not 2 <= len(places) <= BESIDE_MAX or len(places) != len(set(places)) or not all(map(_is_index, places)):
        raise ValueError("must be positions, separated by commas")
    return ",".join(places)


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5


def _panel(value: object) -> str:
    if not isinstance(value, str) or not (value in PANELS or value == "" or is_id(value)):
        raise ValueError("must be a panel or the id of a stored answer")
    return value


def _one_of(*allowed: str) -> Any:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError("must be a known choice")
        return value

    return check


def _number(high: float) -> Any:
    """A finite number, clamped to [0, high]."""

    def check(value: object) -> float:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, OverflowError):
            raise ValueError("must be a number") from None
        if not math.isfinite(number):
            raise ValueError("must be finite")
        return min(max(number, 0.0), high)

    return check


def _whole(value: object) -> int:
    """A whole number of at least 0."""
    text = str(value)
    good = isinstance(value, (int, str)) and not isinstance(value, bool)
    if not (good and text.isascii() and text.isdigit()) or len(text) > 8:
        raise ValueError("must be a whole number")
    return min(int(text), INDEX_MAX)


def _index(value: object) -> int | None:
    return None if value is None else _whole(value)


def _flag(value: object) -> bool:
    return value in ("1", 1, True)


Name = Annotated[str, BeforeValidator(_name)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Index = Annotated[int | None, BeforeValidator(_index)]
Compared = Annotated[str, BeforeValidator(_one_of(*COMPARED, KEPT))]


class View(BaseModel):
    """The parameters of the address. The defaults are ActFocus on the default run."""

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_serialization_defaults_required=True)

    run: Name = ""
    reference: Name = ""
    step: Index = None
    trajectory: Name = ""
    turn: Annotated[int, BeforeValidator(_whole)] = 0
    token: Index = None
    """Position of the pinned token in its trajectory."""
    signal: Annotated[str, BeforeValidator(_one_of(*SIGNALS))] = "energy"
    alpha: Annotated[float, BeforeValidator(_number(ALPHA_MAX))] = 0.1
    beta: Annotated[float, BeforeValidator(_number(BETA_MAX))] = 0.5
    scope: Scope = "batch"
    adv: Flag = False
    """Gradient shares use weight x |advantage|."""
    color: Colour = "weight"
    text: Text = ""
    """The text as messages or as the model saw it; empty: messages where the environment has no picture."""
    full: Flag = False
    """The text has the whole window."""
    filter: Filter = "all"
    tab: Tab = "trace"
    race: Name = ""
    kept: Annotated[str, BeforeValidator(_kept)] = ""
    """Setting B: alpha, beta, signal, scope and adv, separated by commas; empty: none."""
    group: Name = ""
    """The group that is open on the Groups page."""
    measure: Measure = "energy"
    """The signal whose mean the Groups page compares."""
    over: Over = "step"
    """The Groups page shows one step, or all steps of the run."""
    keep: Keep = ""
    """The fraction that the filter of groups keeps; empty: that of the run."""
    ribbons: Ribbons = "kind"
    """The colouring of the ribbons of an open group."""
    beside: Annotated[str, BeforeValidator(_places)] = ""
    """The rollouts of the open group that stand side by side, by their positions in it, separated by commas; USUAL: the page
    chooses them; empty: none do."""
    export: Export = "python"
    """The form in which the Tune page exports the setting."""
    scheme_a: Compared = "actfocus"
    """Compare: the schemes of the two panes. ActFocus takes alpha, beta and the signal of this view."""
    scheme_b: Compared = "uniform"
    other_run: Name = ""
    """Compare: the trajectory of pane B, if it is another one."""
    other: Name = ""
    controls: Flag = False
    """Compare: the tables include the null controls."""
    whatif: Annotated[str, BeforeValidator(_panel)] = ""
    """The What-if panel: one of PANELS, the id of a stored answer, or empty for closed."""
    motion: Annotated[str, BeforeValidator(_one_of(*SCHEMES, ""))] = ""
    """The scheme whose update the walkthrough shows."""
    stage: Annotated[int, BeforeValidator(lambda value: min(_whole(value), STAGES - 1))] = 0
    """The step of the walkthrough."""
    where: Annotated[str, BeforeValidator(_whole_text(WHERE_MAX))] = ""
    """The list of rollouts: an expression that they meet (``actfocus_core.listing``)."""
    only: Annotated[str, BeforeValidator(_only)] = ""
    """Conditions of ONLY that they meet, separated by commas."""
    in_step: Index = None
    in_group: Name = ""
    in_env: Name = ""
    in_agent: Name = ""
    search: Annotated[str, BeforeValidator(_whole_text(NAME_MAX))] = ""
    """A text that they contain."""
    regex: Flag = False
    """``search`` is a regular expression."""
    case: Flag = False
    """``search`` tells capital from small letters."""
    within: Within = ""
    """``search`` looks at the text of this kind alone."""
    sort: Name = ""
    """The column that orders them; empty: the order of the run."""
    descending: Flag = False
    columns: Annotated[str, BeforeValidator(_column_names)] = ""
    """The columns that are shown, separated by commas; empty: the usual ones."""
    listed: Listed = "rollouts"
    """The page lists rollouts, or the tokens with the most extreme values."""
    extreme: Name = ""
    """The signal, weight or credit that orders the tokens; empty: the signal."""
    end: End = "high"
    """The highest or the lowest tokens."""
    token_kind: TokenKindName = ""
    """Of this kind alone."""
    lesson: Name = ""
    """The lesson that is open, and at which step."""
    lesson_step: Annotated[int, BeforeValidator(_whole)] = 0
    classroom: Flag = False
    """Class mode: the controls are hidden."""

    @property
    def lists(self) -> bool:
        """Whether the list of rollouts is another one than all of the run in its order."""
        conditions = (self.where, self.only, self.in_group, self.in_env, self.in_agent, self.search, self.sort)
        return any(conditions) or self.in_step is not None

    @classmethod
    def parse(cls, query: object) -> View:
        """The view of a query string or a request; anything invalid becomes the default."""
        if isinstance(query, View):
            return query
        values = {}
        for name, adapter in _FIELDS.items():
            if isinstance(query, Mapping) and name in query:
                try:
                    values[name] = adapter.validate_python(query[name])
                except ValidationError:
                    continue
        if not values.get("kept"):
            values = {name: value for name, value in values.items() if not (name in PANES and value == KEPT)}
        return cls(**values)

    def kept_params(self) -> dict:
        """Parameters of ActFocus in setting B; the current ones if it is not set."""
        alpha, beta, signal, *_ = self.kept.split(",") if self.kept else (self.alpha, self.beta, self.signal)
        return {"alpha": float(alpha), "beta": float(beta), "signal": signal}

    def scheme_params(self) -> dict[str, dict]:
        """Scheme -> the parameters that differ from its defaults."""
        return {TUNED: {"alpha": self.alpha, "beta": self.beta, "signal": self.signal}}

    def query(self) -> str:
        """The query string that ``parse`` turns into an equal view."""
        values = {name: value for name, value in vars(self).items() if value not in ("", None)}
        return urlencode(values | {name: int(getattr(self, name)) for name in FLAGS})


PANES = ("scheme_a", "scheme_b")
FLAGS = ("adv", "full", "controls", "classroom", "regex", "case", "descending")
_FIELDS = {
    name: TypeAdapter(Annotated[field.annotation, *(field.metadata or [None])])
    for name, field in View.model_fields.items()
}


class ViewRequest(Request):
    """A request about the view of the page."""

    view: Annotated[View, BeforeValidator(View.parse)]
