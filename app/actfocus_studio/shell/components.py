"""Small components of the frame. Each has a constant template: data never meets a template."""

from __future__ import annotations

import json

import gradio as gr

from actfocus_studio.server.static import module_url


class ClientHTML(gr.HTML):
    """An empty element that ``function`` of the studio's module builds, with ``config`` as its second argument."""

    def __init__(self, module: str, function: str = "mount", *, elem_id: str, **config: object):
        super().__init__(
            html_template="<div></div>",
            css_template="",
            apply_default_css=False,
            js_on_load=f"{_import(module)}.then(({{ {function} }}) => {function}(element, JSON.parse(props.config)));",
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
            js_on_load=(
                f"{_import('web/lib/store.js')}.then(({{ store }}) => store.bind('{name}', (value) => "
                "{ props.value = JSON.stringify(value); trigger('send'); }));"
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
            js_on_load=f"{_import('shell/rollout_form.js')}.then(({{ mount }}) => mount(element, props, watch));",
            elem_id="af-job",
            padding=False,
        )

    def get_block_name(self) -> str:
        return "html"


def _import(module: str) -> str:
    """JavaScript that imports a module of the studio, whichever file of Gradio's runs it."""
    return f"import(new URL('{module_url(module)}', document.baseURI))"
