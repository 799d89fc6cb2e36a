"""Small components of the frame. Each has a constant template: data never meets a template."""

from __future__ import annotations

import gradio as gr

from app.static import script_tag


class ClientHTML(gr.HTML):
    """A component that the studio's script builds: an empty element, and its value as a string."""

    def __init__(self, mount: str, *, value: str | None = None, elem_id: str, **kwargs):
        super().__init__(value=value, html_template="<div></div>", css_template="", apply_default_css=False,
                         head=script_tag(), js_on_load=mount, elem_id=elem_id, padding=False, **kwargs)

    def get_block_name(self) -> str:
        return "html"


class TopBar(ClientHTML):
    """Product, run picker, what is loaded, copy link, theme, help."""

    def __init__(self):
        super().__init__("ActFocus.frame.mount(element)", elem_id="af-topbar")


class MethodNote(ClientHTML):
    """Under the controls: what B is, and a warning where the scope is not the batch."""

    def __init__(self):
        super().__init__("ActFocus.frame.mountNote(element)", elem_id="af-note")


class Settings(ClientHTML):
    """Lets the script set the native controls: it triggers, the listeners ask the script for values."""

    def __init__(self):
        super().__init__("ActFocus.store.bind({all: () => trigger('all'), preset: () => trigger('preset')})",
                         elem_id="af-settings")


class Nav(ClientHTML):
    """The only event input of the page: a request as a small JSON string."""

    def __init__(self):
        super().__init__("ActFocus.go = (request) => { props.value = JSON.stringify(request); trigger('go'); }",
                         elem_id="af-nav")


class PlayRequest(ClientHTML):
    """The moves a person made so far, as a small JSON string."""

    def __init__(self):
        super().__init__("ActFocus.play.link((request) => { props.value = JSON.stringify(request); trigger('play'); })",
                         elem_id="af-play-request")


class PlayAnswer(ClientHTML):
    """Where the moves lead, and what the oracle says of them."""

    def __init__(self):
        super().__init__("watch('value', () => ActFocus.play.answer(props.value))", elem_id="af-play-answer")


class JobView(ClientHTML):
    """The progress of a rollout."""

    def __init__(self):
        super().__init__("ActFocus.jobs.mount(element, props, watch)", elem_id="af-job")


class PageView(ClientHTML):
    """A page that its script, ``ActFocus.NAME``, builds."""

    def __init__(self, name: str, **more: str):
        super().__init__(f"ActFocus.{name}.mount(element, props)", elem_id=f"af-{name}", **more)


class Ask(ClientHTML):
    """What the page of that name asks for, as a small JSON string."""

    def __init__(self, name: str):
        super().__init__(f"ActFocus.{name}.link((request) => {{ props.value = JSON.stringify(request); trigger('ask'); }})",
                         elem_id=f"af-{name}-ask")


class Told(ClientHTML):
    """The answer to that page's last request."""

    def __init__(self, name: str):
        super().__init__(f"watch('value', () => ActFocus.{name}.answer(props.value))", elem_id=f"af-{name}-told")
