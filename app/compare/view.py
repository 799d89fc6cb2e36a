"""The components of the Compare page."""

from __future__ import annotations

from app.frame.components import ClientHTML


class CompareView(ClientHTML):
    """The Compare page: two panes of tokens, the schemes, how alike they are, and the truth."""

    def __init__(self, menu: str):
        super().__init__("ActFocus.compare.mount(element, props)", elem_id="af-compare", menu=menu)


class CompareRequest(ClientHTML):
    """What the Compare page asks for, as a small JSON string."""

    def __init__(self):
        super().__init__("ActFocus.compare.link((request) => { props.value = JSON.stringify(request); trigger('ask'); })",
                         elem_id="af-compare-request")


class CompareAnswer(ClientHTML):
    """The answer to the page's last request."""

    def __init__(self):
        super().__init__("watch('value', () => ActFocus.compare.answer(props.value))", elem_id="af-compare-answer")
