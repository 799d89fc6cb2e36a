"""New rollouts: a form in the sidebar, and the progress of the process that samples them."""

from __future__ import annotations

import gradio as gr

from actfocus_core.errors import ActFocusError
from actfocus_studio.data import models
from actfocus_studio.data.message import Message
from actfocus_studio.data.schema import JobStatus
from actfocus_studio.jobs import rollouts as jobs
from actfocus_studio.shell.components import JobView
from actfocus_studio.shell.studio import PRIVATE

POLL_SECONDS = 0.5


class RolloutProgress(Message):
    """What the script shows below the form."""

    job: JobStatus
    started: bool = False
    """By the page that receives this."""
    error: str = ""


def rollout_form(demo: gr.Blocks, rollouts: jobs.Rollouts) -> None:
    """Build the form; the script opens the new run in the page that started it."""
    with gr.Accordion("New rollouts", open=False, elem_id="af-rollouts"):
        environment = gr.Radio(
            list(jobs.ENVIRONMENTS),
            value=next(iter(jobs.ENVIRONMENTS)),
            label="Environment",
            info="The task. On slippery ice a move may slip sideways.",
        )
        policy = gr.Dropdown(
            _policies(rollouts),
            value="tiny",
            label="Policy",
            elem_id="af-policy",
            info="Installed models, and models trained on the Train tab.",
        )
        examples = gr.Slider(
            *jobs.EXAMPLES,
            0,
            step=1,
            label="Worked examples",
            buttons=[],
            info="Few-shot examples in the prompt, for a model that does not know the format.",
        )
        prompts = gr.Slider(
            *jobs.PROMPTS,
            8,
            step=1,
            label="Prompts",
            info="Number of initial states (lakes, rooms, puzzles, wishes).",
            buttons=[],
        )
        members = gr.Slider(
            *jobs.ROLLOUTS, 8, step=1, label="Rollouts per prompt", buttons=[], info="The size of a group."
        )
        temperature = gr.Slider(
            *jobs.TEMPERATURE,
            1.0,
            step=0.1,
            label="Temperature",
            buttons=[],
            info="Sampling temperature of the policy.",
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, info="The same seed gives the same rollouts.")
        with gr.Row():
            start = gr.Button("Sample rollouts", variant="primary", size="sm", elem_id="af-roll")
            cancel = gr.Button("Cancel", size="sm", elem_id="af-cancel")
        view = JobView()
        timer = gr.Timer(POLL_SECONDS, active=False)

    def shown(started: bool = False, error: str = "") -> list:
        job = JobStatus(**vars(rollouts.status()))
        value = RolloutProgress(job=job, started=started, error=error).model_dump_json()
        return [value, gr.Timer(active=job.state == "running")]

    def begin(environment, prompts, members, seed, temperature, policy, examples) -> list:
        try:
            rollouts.start(jobs.RolloutRequest(environment, prompts, members, seed, temperature, policy, examples))
        except (ActFocusError, OSError) as error:
            return shown(error=str(error))
        return shown(started=True)

    def stop() -> list:
        rollouts.cancel()
        return shown()

    def look() -> list:
        return shown()

    start.click(begin, [environment, prompts, members, seed, temperature, policy, examples], [view, timer], **PRIVATE)
    cancel.click(stop, None, [view, timer], **PRIVATE)
    timer.tick(look, None, [view, timer], **PRIVATE)
    demo.load(look, None, [view, timer], **PRIVATE)
    demo.load(lambda: gr.Dropdown(_policies(rollouts)), None, [policy], **PRIVATE)


def _policies(rollouts: jobs.Rollouts) -> list[tuple[str, str]]:
    return [(model.title, model.name) for model in models.installed(rollouts.runs_dir)]
