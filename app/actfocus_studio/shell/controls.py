"""The method controls in the sidebar: native components whose listeners run in the page alone."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from actfocus_core.credit import SCHEMES
from actfocus_core.signals import SIGNALS
from actfocus_studio.data.view import ALPHA_MAX, BETA_MAX, SCOPES, View
from actfocus_studio.shell.components import ClientHTML, Setter, report

PRESETS = ("uniform", "actfocus", "role_only", "energy_only")
CUSTOM = "custom"
TITLES = {"nll": "surprise"}
"""Names of signals on the page, where they differ from the stored ones."""


@dataclass(frozen=True)
class Controls:
    """The native components, in the order the script knows them."""

    preset: gr.Radio
    alpha: gr.Slider
    beta: gr.Slider
    signal: gr.Radio
    scope: gr.Radio
    adv: gr.Checkbox

    def all(self) -> list[gr.components.Component]:
        return [self.preset, self.alpha, self.beta, self.signal, self.scope, self.adv]

    @staticmethod
    def values(view: View) -> list:
        """The components' values for a view, in the order of ``all``."""
        return [preset_name(view.alpha, view.beta), view.alpha, view.beta, view.signal, view.scope, view.adv]


def presets() -> dict[str, tuple[float, float]]:
    """Scheme name -> its alpha and beta; Uniform is ActFocus with (1, 0)."""
    return {
        name: (SCHEMES[name].defaults.get("alpha", 1.0), SCHEMES[name].defaults.get("beta", 0.0)) for name in PRESETS
    }


def preset_name(alpha: float, beta: float) -> str:
    """The preset with these parameters, or CUSTOM."""
    return next((name for name, pair in presets().items() if pair == (alpha, beta)), CUSTOM)


def method_controls() -> Controls:
    """Build the controls and their listeners, in the sidebar that is open."""
    start = View()
    choices = [("Uniform (GRPO)" if name == "uniform" else SCHEMES[name].title, name) for name in PRESETS] + [
        ("Custom", CUSTOM)
    ]
    c = Controls(
        preset=gr.Radio(
            choices,
            value=preset_name(start.alpha, start.beta),
            label="Credit scheme",
            elem_id="af-preset",
            info="How the gradient is divided among tokens. Uniform weights all tokens equally; ActFocus shifts weight to action tokens.",
        ),
        alpha=gr.Slider(
            0,
            ALPHA_MAX,
            start.alpha,
            step=0.01,
            label="\u03b1, weight of reasoning",
            elem_id="af-alpha",
            buttons=[],
            info="Weight of a reasoning token. 1: equal to an action token; 0: ignored.",
        ),
        beta=gr.Slider(
            0,
            BETA_MAX,
            start.beta,
            step=0.05,
            label="\u03b2, boost of actions",
            elem_id="af-beta",
            buttons=[],
            info="Action tokens weigh 1 to 1 + \u03b2, more where the signal is higher. 0: all actions are equal.",
        ),
        signal=gr.Radio(
            [(TITLES.get(name, name), name) for name in SIGNALS],
            value=start.signal,
            label="Signal",
            elem_id="af-signal",
            info="Uncertainty measure of a token. Energy and entropy are those of a frozen reference model.",
        ),
        scope=gr.Radio(
            list(SCOPES),
            value=start.scope,
            label="Standardise the signal within",
            elem_id="af-scope",
            info="Over which tokens the mean \u03bc and standard deviation \u03c3 are computed. The method uses the whole batch.",
        ),
        adv=gr.Checkbox(
            start.adv,
            label="Multiply by |advantage|",
            elem_id="af-adv",
            info="Show weight \u00d7 |advantage|: a trajectory with advantage 0 contributes no gradient.",
        ),
    )
    ClientHTML("shell/top_bar.js", "mountNote", elem_id="af-note")
    with gr.Row(elem_id="af-ab"):
        gr.Button("Keep as B", size="sm", elem_id="af-keep").click(None, js=report("keep"))
        gr.Button("Swap A and B", size="sm", elem_id="af-swap").click(None, js=report("swap"))
    _listen(c)
    return c


def _listen(c: Controls) -> None:
    """Attach the listeners. Each is a line of the page's script: a slider never sends a request."""
    for name in ("alpha", "beta", "signal", "scope", "adv"):
        component = getattr(c, name)
        for event in (component.input, component.change):
            # One input each: Gradio copies the values of all inputs of an event.
            event(None, [component], None, js=report("setting", f"{{ name: '{name}', value }}"))
    c.preset.input(None, [c.preset], None, js=report("preset", "value"))
    for name, components in (("settings", c.all()), ("preset", [c.preset])):
        setter = Setter(name)
        setter.send(None, [setter], components, js="(text) => JSON.parse(text)", trigger_mode="always_last")
