"""A page that opens: one script, and nothing that depends on which of its parts arrives first."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from actfocus_studio.server.static import script_url
from tests.app.pages import Studio

pytestmark = pytest.mark.browser

SCRIPT = re.compile(r"/studio/script/\w+\.js$")
VIEW = "run=plain&alpha=0.35&beta=0.7&signal=entropy"
PARAMETERS = """async (address) => {
  const { modules } = await import(address);
  const { settings } = modules['web/lib/store.js'].store;
  return [settings.alpha, settings.beta];
}"""


def test_the_script_is_requested_once_and_runs_once(app):
    app.open(VIEW)
    (address,) = [url for url in app.traffic.urls if SCRIPT.search(url)]
    # Whoever imports the script reads the settings of the page.
    assert app.page.evaluate(PARAMETERS, address) == [0.35, 0.7]
    app.slide(alpha=0.6)
    assert app.page.evaluate(PARAMETERS, address) == [0.6, 0.7]
    assert len([url for url in app.traffic.urls if SCRIPT.search(url)]) == 1


def begin(app: Studio, query: str) -> None:
    """Go to an address, and wait for its elements alone."""
    app.page.goto(f"{app.address}/?{query}", wait_until="commit")
    app.page.wait_for_function("document.readyState !== 'loading'")


def held(page: Page, pattern: re.Pattern[str]) -> Callable[[], None]:
    """Hold all requests of a pattern until the function that is returned is called."""
    waiting: list[Route] = []
    page.route(pattern, lambda route: waiting.append(route))

    def release() -> None:
        for route in waiting:
            route.continue_()
        page.unroute(pattern)

    return release


def begin_before_gradio(app: Studio, query: str) -> None:
    """Go to an address, and let Gradio begin when the script has the answer."""
    release = held(app.page, re.compile(r"/assets/index-.*\.js$"))
    begin(app, query)
    with app.page.expect_event("requestfinished", lambda request: "trace/open" in request.url):
        app.page.evaluate(f"() => import('./{script_url()}')")
    release()


def expect_opened(app: Studio, tab: str) -> None:
    """Everything shows what the address asked for."""
    app.ready(tab)
    app.expect_sliders(0.35, 0.7)
    app.expect_address(tab=tab, alpha="0.35", beta="0.7", signal="entropy")
    expect(app.page.locator("#af-signal").get_by_label("entropy", exact=True)).to_be_checked()
    expect(app.preset("Custom")).to_be_checked()


@pytest.mark.parametrize("tab", ["trace", "tune", "groups"])
def test_the_answer_comes_before_gradio_has_built_the_page(app, tab):
    begin_before_gradio(app, f"{VIEW}&tab={tab}")
    expect_opened(app, tab)


@pytest.mark.parametrize("tab", ["trace", "tune", "groups"])
def test_the_script_comes_after_gradio_has_built_the_page(app, tab):
    release = held(app.page, SCRIPT)
    begin(app, f"{VIEW}&tab={tab}")
    expect(app.page.locator("#af-alpha")).to_be_visible()
    release()
    expect_opened(app, tab)


def test_pages_that_are_built_after_a_run_could_not_be_opened_say_that_none_is(app):
    begin_before_gradio(app, "run=broken")
    expect(app.trace.alert).to_contain_text("broken")
    app.tab("Tune")
    expect(app.tune.root).to_contain_text("No run is open.")


def test_the_lesson_of_an_address_begins_after_the_answer(app):
    begin_before_gradio(app, "run=plain&lesson=a-turn&lesson_step=1")
    expect(app.learn.lesson).to_be_visible()
    app.learn.expect_step(2, 3)
    app.expect_address(lesson="a-turn", lesson_step=1)


def test_the_what_if_panel_of_an_address_opens_after_the_answer(app):
    begin_before_gradio(app, f"{VIEW}&whatif=branch")
    app.ready()
    expect(app.page.get_by_role("dialog", name="What if")).to_be_visible()
