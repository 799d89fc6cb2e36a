"""Compare: credit schemes side by side on the same rollouts, and against ground truth where it is known."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from actfocus_core.analysis.scoreboard import COLUMNS
from actfocus_core.credit import CONTROLS, HOW_TO_GET, SCHEMES
from actfocus_core.errors import ActFocusError
from actfocus_core.reports.html import render
from actfocus_core.reports.sections.scoreboard import HEADS
from actfocus_core.runs import ANNOTATIONS, Run, slug
from actfocus_studio.data.catalog import Place, locate
from actfocus_studio.data.serialize import dump, env_options, finite, played, texts
from actfocus_studio.data.view import View
from actfocus_studio.jobs.signals import REFERENCES, VALUES
from actfocus_studio.pages.compare.credits import boards, table, token_credit
from actfocus_studio.shell.components import Ask, PageView
from actfocus_studio.shell.requests import PRIVATE, answer
from actfocus_studio.shell.studio import Studio

NAME, TITLE = "compare", "Compare"
PLACES_MAX = 200
"""Maximum number of (run, step) pairs listed for a prompt."""
FROM_REFERENCE = ("energy", "entropy", "centred_energy", "shift")
"""Signals that scoring with a reference model adds."""
FROM_ORACLE = {"optimal": "oracle-optimal", "policy": "oracle-policy", "answers": "oracle-answers"}
"""Key of VALUES -> the annotation it adds."""


def build(studio: Studio) -> None:
    """Add the page. Its script builds it; requests and answers are JSON strings."""
    PageView("compare", menu=menu())
    channel = Ask("compare")
    channel.ask(
        lambda text: answer(text, lambda request: handle(studio, request)),
        [channel],
        [channel],
        trigger_mode="multiple",
        **PRIVATE,
    )


def menu() -> str:
    """What does not depend on a run, as JSON: schemes, null controls and the columns of the scoreboard."""
    facts = ("title", "description", "source", "read", "cost", "unit", "evidence", "needs")
    return dump(
        {
            "schemes": {name: {fact: getattr(scheme, fact) for fact in facts} for name, scheme in SCHEMES.items()},
            "controls": CONTROLS,
            "how": HOW_TO_GET,
            "columns": COLUMNS,
            "heads": HEADS,
            "from_reference": list(FROM_REFERENCE),
            "references": list(REFERENCES),
            "values": {
                signal: value for value, annotation in FROM_ORACLE.items() for signal in ANNOTATIONS[annotation]
            },
            "options": {value: " ".join(options) for value, options in VALUES.items()},
        }
    )


def handle(studio: Studio, request: dict) -> dict:
    """Answer a request of the page. Raises ActFocusError for an unknown operation, run or trajectory."""
    view = View.parse(request)
    what = request.get("op")
    if what == "job":
        return {"job": vars(studio.signals.status())}
    if what == "cancel":
        studio.signals.cancel()
        return {"job": vars(studio.signals.status())}
    if not isinstance(what, str) or what not in ANSWERS:
        raise ActFocusError("unknown operation; reload the page")
    name = view.run or studio.catalog.default()
    run = studio.catalog.open(name)
    place, _ = locate(run, view)
    return ANSWERS[what](studio, replace(view, run=name), run, place, request)


def panes(studio: Studio, view: View, run: Run, place: Place, request: dict) -> dict:
    """The tokens of the trajectory, and of the one selected for pane B, if any."""
    left = pane(run, view.run, place.id, view)
    right, notes = None, []
    if view.other:
        try:
            right = pane(*other(studio, view, run), view.other, view)
        except ActFocusError as error:
            notes.append(f"{error}; both panes show the same trajectory.")
    same = right is None or (right["run"], right["id"]) == (left["run"], left["id"])
    return {
        "left": left,
        "right": None if same else right,
        "notes": notes,
        "view": {"scheme_a": view.scheme_a, "scheme_b": view.scheme_b, "controls": view.controls},
    }


def other(studio: Studio, view: View, run: Run) -> tuple[Run, str]:
    """The run of pane B's trajectory, and its name. Raises ActFocusError for a run that is not listed."""
    if view.other_run in ("", view.run):
        return run, view.run
    return studio.catalog.open(view.other_run), view.other_run


def pane(run: Run, name: str, id: str, view: View) -> dict:
    """One trajectory as columns. Raises ActFocusError for an id that is not in the run."""
    t = run.trajectory(id)
    return {
        "run": name,
        "id": t.id,
        "step": t.step,
        "rollout": t.rollout,
        "return": finite(t.ret),
        "success": t.success,
        "text": texts(t),
        "kind": t.kinds.tolist(),
        "turn": t.turns.tolist(),
        "turns": played(t),
    }


def credit(studio: Studio, view: View, run: Run, place: Place, request: dict) -> dict:
    """Token credit in panes A and B, and the scale that both share."""
    batch = studio.scored.get(run, place.step, reference(run, place.step, view))
    a, top_a = token_credit(batch, view.scheme_a, view, place.id)
    id = place.id
    if view.other:
        run, _ = other(studio, view, run)
        id = view.other
        step = step_of(run, id)
        batch = studio.scored.get(run, step, reference(run, step, view))
    b, top_b = token_credit(batch, view.scheme_b, view, id)
    return {"a": a, "b": b, "top": max(top_a, top_b) or 1.0}


def places(studio: Studio, view: View, run: Run, place: Place, request: dict) -> dict:
    """Other rollouts of the prompt: in this step, in other steps and in other runs."""
    here = {"run": view.run, "step": place.step, "members": place.members}
    index = run.index()
    row = index[index["id"] == place.id].iloc[0]
    found = [here, *_played(run, view.run, int(row["seed"]), place.step)] if _task(run) else [here]
    for name in studio.catalog.paths() if _task(run) else ():
        if name == view.run or len(found) >= PLACES_MAX:
            continue
        try:
            candidate = studio.catalog.open(name)
            if _task(candidate) == _task(run):
                found += _played(candidate, name, int(row["seed"]))
        except ActFocusError:
            # A broken run is reported where it is opened.
            continue
    return {"places": found[:PLACES_MAX]}


def _task(run: Run) -> tuple | None:
    """The environment and its options; None where the run does not record them, so prompts are not comparable."""
    env = run.metadata.env
    return (env, dump(env_options(run))) if env else None


def _played(run: Run, name: str, seed: int, skip: int | None = None) -> list[dict]:
    """The rollouts of a prompt by step, except in the step ``skip``."""
    index = run.index()
    rows = index[(index["seed"] == seed) & (index["step"] != (-1 if skip is None else skip))]
    return [
        {"run": name, "step": int(step), "members": [_member(row) for _, row in members.iterrows()]}
        for step, members in rows.groupby("step")
    ]


def _member(row: pd.Series) -> dict:
    return {
        "id": row["id"],
        "rollout": int(row["rollout"]),
        "return": finite(float(row["return"])),
        "success": None if pd.isna(row["success"]) else bool(row["success"]),
    }


def schemes(studio: Studio, view: View, run: Run, place: Place, request: dict) -> dict:
    """Gradient share by token kind, effective tokens, sign flips, and rank correlations between schemes."""
    name = reference(run, place.step, view)
    return {
        "table": table(studio.scored.get(run, place.step, name), view)
        | {
            "run": view.run,
            "step": place.step,
            "reference": name,
            "score": f"actfocus score {run.path}",
            "judge": f"actfocus oracle {run.path} --step {place.step}",
        }
    }


def truth(studio: Studio, view: View, run: Run, place: Place, request: dict) -> dict:
    """Scores of every scheme against the ground truths that the batch has."""
    batch = studio.scored.get(run, place.step, reference(run, place.step, view))
    return {"boards": boards(batch, view), "command": f"actfocus oracle {run.path} --step {place.step}"}


def score(studio: Studio, view: View, run: Run, place: Place, request: dict) -> dict:
    """Start scoring the run with a reference model, in a separate process."""
    return {"job": vars(studio.signals.score(run, view.run, request.get("with")))}


def judge(studio: Studio, view: View, run: Run, place: Place, request: dict) -> dict:
    """Start computing the oracle's values of the step, in a separate process."""
    return {"job": vars(studio.signals.judge(run, view.run, place.step, request.get("with")))}


def report(studio: Studio, view: View, run: Run, place: Place, request: dict) -> dict:
    """The report of the step: an HTML document as text, which the page offers as a download and never renders."""
    html, _ = render(run, place.step, reference(run, place.step, view))
    return {"report": html, "name": f"{slug(run.name)}-step-{place.step}.html"}


ANSWERS = {f.__name__: f for f in (panes, credit, places, schemes, truth, score, judge, report)}


def reference(run: Run, step: int, view: View) -> str | None:
    """The requested reference model where it scored this step, else the first that did."""
    names = run.references(step)
    return view.reference if view.reference in names else next(iter(names), None)


def step_of(run: Run, id: str) -> int:
    """The step of a trajectory. Raises ActFocusError where it is not in the run."""
    index = run.index()
    steps = index.loc[index["id"] == id, "step"]
    if steps.empty:
        raise ActFocusError(f"there is no trajectory \u201c{id}\u201d in the run \u201c{run.name}\u201d")
    return int(steps.iloc[0])
