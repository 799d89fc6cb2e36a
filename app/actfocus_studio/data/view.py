"""The view of a page as a readable query string.

Every value that comes in is hostile until it is in a ``View``: names are cut to a length,
numbers are finite and in range, choices are known ones. What is not valid is its default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from actfocus_core.counterfactual.store import is_id
from actfocus_core.credit import CONTROLS, SCHEMES
from actfocus_core.signals import SIGNALS

SCOPES = ("batch", "group", "trajectory")
COLOURS = ("weight", "kind", "energy", "entropy", "nll", "credit")
FILTERS = ("all", "success", "failure", "malformed")
TABS = ("trace", "compare", "groups", "tune", "train", "learn")
OVERS = ("step", "all")
MEASURES = ("energy", "centred_energy", "entropy", "policy_entropy")
KEEPS = ("", "0.1", "0.25", "0.5", "0.75")
RIBBONS = ("kind", "weight")
EXPORTS = ("python", "command", "trl", "verl")
TUNED = "actfocus"
"""The scheme that follows the controls in the sidebar; all others have their own defaults."""
KEPT = "kept"
"""The scheme of a pane that is ActFocus with setting B."""
COMPARED = (*SCHEMES, *(f"{control}:{scheme}" for scheme in SCHEMES for control in CONTROLS))
"""Schemes and their null controls."""
PANELS = ("replay", "branch", "edit", "motion")
"""The forms of the What-if panel; otherwise it shows a stored answer, by its id."""
STAGES = 9
"""Steps of the walkthrough."""
ALPHA_MAX, BETA_MAX = 1.0, 2.0
NAME_MAX = 200
INDEX_MAX = 10_000_000


@dataclass(frozen=True)
class View:
    """The parameters of the address. The defaults are ActFocus on the default run."""

    run: str = ""
    reference: str = ""
    step: int | None = None
    trajectory: str = ""
    turn: int = 0
    token: int | None = None
    """Position of the pinned token in its trajectory."""
    signal: str = "energy"
    alpha: float = 0.1
    beta: float = 0.5
    scope: str = "batch"
    adv: bool = False
    """Gradient shares use weight x |advantage|."""
    color: str = "weight"
    filter: str = "all"
    tab: str = "trace"
    race: str = ""
    kept: str = ""
    """Setting B: alpha, beta, signal, scope and adv, separated by commas; empty: none."""
    group: str = ""
    """The group that is open on the Groups page."""
    measure: str = "energy"
    """The signal whose mean the Groups page compares."""
    over: str = "step"
    """The Groups page shows one step, or all steps of the run."""
    keep: str = ""
    """The fraction that the filter of groups keeps; empty: that of the run."""
    ribbons: str = "kind"
    """The colouring of the ribbons of an open group."""
    export: str = "python"
    """The form in which the Tune page exports the setting."""
    scheme_a: str = "actfocus"
    """Compare: the schemes of the two panes. ActFocus takes alpha, beta and the signal of this view."""
    scheme_b: str = "uniform"
    other_run: str = ""
    """Compare: the trajectory of pane B, if it is another one."""
    other: str = ""
    controls: bool = False
    """Compare: the tables include the null controls."""
    whatif: str = ""
    """The What-if panel: one of PANELS, the id of a stored answer, or empty for closed."""
    motion: str = ""
    """The scheme whose update the walkthrough shows."""
    stage: int = 0
    """The step of the walkthrough."""
    lesson: str = ""
    """The lesson that is open, and at which step."""
    lesson_step: int = 0
    classroom: bool = False
    """Class mode: the controls are hidden."""

    @classmethod
    def parse(cls, query: Mapping[str, object]) -> View:
        """The view of a query string or a request; anything invalid becomes the default."""
        kept = _kept(query.get("kept"))
        compared = (*COMPARED, KEPT) if kept else COMPARED
        return cls(
            kept=kept,
            run=_name(query.get("run")),
            reference=_name(query.get("reference")),
            step=_whole(query.get("step"), None),
            trajectory=_name(query.get("trajectory")),
            turn=_whole(query.get("turn"), cls.turn),
            token=_whole(query.get("token"), None),
            signal=_choice(query.get("signal"), SIGNALS, cls.signal),
            alpha=_number(query.get("alpha"), cls.alpha, ALPHA_MAX),
            beta=_number(query.get("beta"), cls.beta, BETA_MAX),
            scope=_choice(query.get("scope"), SCOPES, cls.scope),
            adv=query.get("adv") in ("1", 1, True),
            color=_choice(query.get("color"), COLOURS, cls.color),
            filter=_choice(query.get("filter"), FILTERS, cls.filter),
            tab=_choice(query.get("tab"), TABS, cls.tab),
            race=_name(query.get("race")),
            group=_name(query.get("group")),
            measure=_choice(query.get("measure"), MEASURES, cls.measure),
            over=_choice(query.get("over"), OVERS, cls.over),
            keep=_choice(query.get("keep"), KEEPS, cls.keep),
            ribbons=_choice(query.get("ribbons"), RIBBONS, cls.ribbons),
            export=_choice(query.get("export"), EXPORTS, cls.export),
            scheme_a=_choice(query.get("scheme_a"), compared, cls.scheme_a),
            scheme_b=_choice(query.get("scheme_b"), compared, cls.scheme_b),
            other_run=_name(query.get("other_run")),
            other=_name(query.get("other")),
            controls=query.get("controls") in ("1", 1, True),
            whatif=_panel(query.get("whatif")),
            motion=_choice(query.get("motion"), tuple(SCHEMES), cls.motion),
            stage=min(_whole(query.get("stage"), cls.stage), STAGES - 1),
            lesson=_name(query.get("lesson")),
            lesson_step=_whole(query.get("lesson_step"), cls.lesson_step),
            classroom=query.get("classroom") in ("1", 1, True),
        )

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
        return urlencode(values | {name: int(getattr(self, name)) for name in ("adv", "controls", "classroom")})


def _name(value: object) -> str:
    return value[:NAME_MAX] if isinstance(value, str) and value.isprintable() else ""


def _kept(value: object) -> str:
    """A setting in the form of ``View.kept`` if all five parts are valid, else an empty string."""
    parts = value.split(",") if isinstance(value, str) and len(value) <= NAME_MAX else []
    if len(parts) != 5 or parts[2] not in SIGNALS or parts[3] not in SCOPES or parts[4] not in ("0", "1"):
        return ""
    alpha, beta = _number(parts[0], math.nan, ALPHA_MAX), _number(parts[1], math.nan, BETA_MAX)
    return "" if math.isnan(alpha + beta) else f"{alpha:g},{beta:g},{','.join(parts[2:])}"


def _panel(value: object) -> str:
    return value if isinstance(value, str) and (value in PANELS or is_id(value)) else ""


def _choice(value: object, allowed: tuple[str, ...], default: str) -> str:
    return value if isinstance(value, str) and value in allowed else default


def _number(value: object, default: float, high: float) -> float:
    """A number clamped to [0, high]; the default if it is not finite."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return default
    return min(max(number, 0.0), high) if math.isfinite(number) else default


def _whole(value: object, default: int | None) -> int | None:
    """A whole number of at least 0; the default for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return default
    text = str(value)
    if not (text.isascii() and text.isdigit()) or len(text) > 8:
        return default
    return min(int(text), INDEX_MAX)
