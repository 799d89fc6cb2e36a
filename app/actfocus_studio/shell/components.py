"""Small components of the frame. Each has a constant template: data never meets a template."""

from __future__ import annotations

import gradio as gr

from actfocus_studio.server.static import script_tag


class ClientHTML(gr.HTML):
    """A component that the studio's script builds: an empty element, and its value as a string."""

    def __init__(self, mount: str, *, value: str | None = None, elem_id: str, **kwargs):
        super().__init__(
            value=value,
            html_template="<div></div>",
            css_template="",
            apply_default_css=False,
            head=script_tag(),
            js_on_load=mount,
            elem_id=elem_id,
            padding=False,
            **kwargs,
        )

    def get_block_name(self) -> str:
        return "html"


class TopBar(ClientHTML):
    """The header: product name, run, facts of the run, copy link, theme, help."""

    def __init__(self):
        super().__init__("ActFocus.frame.mount(element)", elem_id="af-topbar")


class MethodNote(ClientHTML):
    """Below the controls: settings A and B, and a warning if the scope is not the batch."""

    def __init__(self):
        super().__init__("ActFocus.frame.mountNote(element)", elem_id="af-note")


class Settings(ClientHTML):
    """Lets the script set the native controls: it triggers an event whose listeners read the script's values."""

    def __init__(self):
        super().__init__(
            "ActFocus.store.bind({all: () => trigger('all'), preset: () => trigger('preset')})", elem_id="af-settings"
        )


class Nav(ClientHTML):
    """Navigation: a request as a small JSON string; of several in quick succession the last one wins."""

    def __init__(self):
        super().__init__("ActFocus.go = ActFocus.handler('af-nav', 'go', ActFocus.trace.open, true)", elem_id="af-nav")


class JobView(ClientHTML):
    """The progress of a rollout."""

    def __init__(self):
        super().__init__("ActFocus.jobs.mount(element, props, watch)", elem_id="af-job")


class PageView(ClientHTML):
    """A page that its script, ``ActFocus.NAME``, builds."""

    def __init__(self, name: str, **more: str):
        super().__init__(f"ActFocus.{name}.mount(element, props)", elem_id=f"af-{name}", **more)


class Ask(ClientHTML):
    """The requests of the page of that name, as small JSON strings.

    The event's handler returns the answer as such a string, and the script (``channel.js``) calls it by itself: the
    event is never triggered in the page, and its output, the component again, is never written there.
    """

    def __init__(self, name: str):
        elem_id = f"af-{name}-ask"
        super().__init__(
            f"ActFocus.{name}.link(ActFocus.handler('{elem_id}', 'ask', ActFocus.{name}.answer))", elem_id=elem_id
        )
