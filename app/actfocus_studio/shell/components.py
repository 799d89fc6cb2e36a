"""Small components of the frame. Each has a constant template: data never meets a template."""

from __future__ import annotations

import json

import gradio as gr

from actfocus_studio.server.static import script_url


class ClientHTML(gr.HTML):
    """An empty element that ``function`` of the studio's module builds, with ``config`` as its second argument."""

    def __init__(self, module: str, function: str = "mount", *, elem_id: str, **config: object):
        super().__init__(
            html_template="<div></div>",
            css_template="",
            apply_default_css=False,
            js_on_load=_call(module, f"{function}(element, JSON.parse(props.config))"),
            elem_id=elem_id,
            padding=False,
            config=json.dumps(config, allow_nan=False),
        )

    def get_block_name(self) -> str:
        return "html"


class Setter(gr.HTML):
    """Lets the script set native components: its value, as JSON, is the input of the event ``send``.

    ``name``: what ``store.setNative`` calls it.
    """

    def __init__(self, name: str):
        super().__init__(
            value="null",
            html_template="<div></div>",
            css_template="",
            apply_default_css=False,
            js_on_load=_call(
                "web/lib/store.js",
                f"store.bind('{name}', (value) => {{ props.value = JSON.stringify(value); trigger('send'); }})",
            ),
            elem_id=f"af-set-{name}",
            padding=False,
        )

    def get_block_name(self) -> str:
        return "html"


def report(event: str, detail: str = "undefined") -> str:
    """JavaScript for a native component's event: reports it to the studio's script, with ``value`` in ``detail``."""
    return f"(value) => {{ document.dispatchEvent(new CustomEvent('actfocus:{event}', {{ detail: {detail} }})); }}"


class JobView(gr.HTML):
    """The progress of a rollout: its value is one JSON string."""

    def __init__(self):
        super().__init__(
            html_template="<div></div>",
            css_template="",
            apply_default_css=False,
            js_on_load=_call("shell/rollout_form.js", "mount(element, props, watch)"),
            elem_id="af-job",
            padding=False,
        )

    def get_block_name(self) -> str:
        return "html"


def _call(module: str, call: str) -> str:
    """JavaScript that calls an export of a module of the studio once the script is there.

    An import runs the script unless it ran before, whichever file of Gradio's it stands in.
    """
    return f"import(new URL('{script_url()}', document.baseURI)).then(({{ modules }}) => modules['{module}'].{call});"
