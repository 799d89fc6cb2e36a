"""The studio as a whole: its address, header and sidebar."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote_plus, urlsplit

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.compare import ComparePage
from tests.app.pages.groups import GroupsPage
from tests.app.pages.import_export import ImportExportPanel
from tests.app.pages.learn import LearnPage
from tests.app.pages.rollouts import RolloutsPage
from tests.app.pages.runs import RunPicker
from tests.app.pages.scoring import ScoringDialog
from tests.app.pages.trace import TracePage
from tests.app.pages.traffic import Traffic
from tests.app.pages.train import TrainPage
from tests.app.pages.tune import TunePage
from tests.app.pages.whatif import WhatIfPanel


class Studio:
    """A studio at ``address`` in one page of a browser."""

    def __init__(self, page: Page, address: str):
        self.page, self.address = page, address
        self.traffic, self.runs = Traffic(page), RunPicker(page)
        self.trace, self.compare, self.groups = TracePage(page), ComparePage(page), GroupsPage(page)
        self.rollouts = RolloutsPage(page)
        self.tune, self.train, self.learn = TunePage(page), TrainPage(page), LearnPage(page)
        self.whatif, self.import_export = WhatIfPanel(page), ImportExportPanel(page)
        self.scoring = ScoringDialog(page)

    # --- the address ------------------------------------------------------------------------

    def goto(self, query: str = "run=plain") -> Studio:
        """Go to an address, and wait for nothing."""
        self.page.goto(f"{self.address}/?{query}")
        return self

    def open(self, query: str = "run=plain") -> Studio:
        """Go to an address, and wait until its tab shows what was asked for."""
        return self.goto(query).ready(dict(parse_qsl(query)).get("tab", "trace"))

    def reload(self) -> Studio:
        """Load the address bar's address again."""
        tab = self.parameters().get("tab", "trace")
        self.page.reload()
        return self.ready(tab)

    def ready(self, tab: str = "trace") -> Studio:
        """Wait until a trajectory is open and this tab is filled."""
        expect(self.run).not_to_have_value("")
        getattr(self, tab).ready()
        return self

    def parameters(self) -> dict[str, str]:
        """The parameters of the address bar, which follows the page with a short delay: prefer ``expect_address``."""
        return dict(parse_qsl(urlsplit(self.page.url).query))

    def expect_address(self, **parameters: object) -> None:
        """Wait until the address bar has these parameters; None: does not have the parameter."""
        for name, value in parameters.items():
            text = re.escape(quote_plus(str(value), safe="*"))
            pattern = f"^(?!.*[?&]{name}=)" if value is None else rf"[?&]{name}={text}(&|$)"
            expect(self.page).to_have_url(re.compile(pattern))

    # --- header ---------------------------------------------------------------------------------

    @property
    def header(self) -> Locator:
        return self.page.locator(".af-bar")

    @property
    def run(self) -> Locator:
        """The field of the run picker, which has the name of the open run."""
        return self.runs.field

    def tab(self, title: str) -> None:
        """Go to a tab by its title."""
        self.page.get_by_role("tab", name=title, exact=True).click()

    def choose_run(self, name: str) -> None:
        self.runs.choose(name)

    @property
    def toast(self) -> Locator:
        """The short message that goes away by itself."""
        return self.page.locator("#af-toast")

    @property
    def help(self) -> Locator:
        return self.page.locator("dialog.af-help")

    # --- sidebar ------------------------------------------------------------------------------

    def slider(self, name: str) -> Locator:
        """The slider ``alpha`` or ``beta``."""
        return self.page.locator(f"#af-{name}").get_by_role("slider")

    def slide(self, **values: float) -> None:
        """Move sliders to these values, as the last event of a drag does: slide(alpha=0.3)."""
        for name, value in values.items():
            self.slider(name).evaluate(
                "(node, value) => { node.value = value; node.dispatchEvent(new Event('input', { bubbles: true })); }",
                value,
            )
        # The address follows the settings: the page has taken the values.
        self.expect_address(**{name: f"{value:g}" for name, value in values.items()})

    def preset(self, title: str) -> Locator:
        """The radio button of a credit scheme; what stands in brackets after its title may be left out."""
        return self.page.locator("#af-preset").get_by_role("radio", name=re.compile(rf"^\s*{title}(\s*\(|\s*$)"))

    def choose(self, *, signal: str | None = None, scope: str | None = None, by_advantage: bool | None = None) -> None:
        """Set the signal, the scope of its statistics, and whether weights are multiplied by the absolute advantage."""
        if signal is not None:
            self.page.locator("#af-signal").get_by_label(signal, exact=True).check()
            self.expect_address(signal="nll" if signal == "surprise" else signal)
        if scope is not None:
            self.page.locator("#af-scope").get_by_label(scope, exact=True).check()
            self.expect_address(scope=scope)
        if by_advantage is not None:
            self.page.locator("#af-adv").get_by_role("checkbox").set_checked(by_advantage)
            self.expect_address(adv=int(by_advantage))

    def expect_sliders(self, alpha: float, beta: float) -> None:
        expect(self.slider("alpha")).to_have_value(f"{alpha:g}")
        expect(self.slider("beta")).to_have_value(f"{beta:g}")

    def set_rollouts(self, **numbers: int) -> None:
        """Type into the number fields of the form of new rollouts: ``prompts``, ``rollouts``."""
        labels = {"prompts": "Prompts", "rollouts": "Rollouts per prompt"}
        for name, value in numbers.items():
            field = self.page.get_by_label(f"number input for {labels[name]}")
            slider = self.page.get_by_label(f"range slider for {labels[name]}")
            expect(field).to_have_value(slider.input_value())
            field.fill(str(value))
            field.press("Tab")
            expect(slider).to_have_value(str(value))

    # --- anything -----------------------------------------------------------------------------

    def leave_control(self) -> None:
        """Click beside all controls: keys are for the page again."""
        self.page.locator(".af-brand").click()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def expect_no_overflow(self, width: int) -> None:
        """The page is not wider than the screen."""
        self.page.wait_for_function("width => document.scrollingElement.scrollWidth <= width", arg=width)

    def expect_nothing_ran(self) -> None:
        """No markup of a trajectory was taken for code. What would run in an image's error handler runs before ours."""
        self.page.evaluate(
            """() => new Promise((done) => {
                const image = new Image();
                image.onerror = image.onload = () => setTimeout(done, 0);
                image.src = 'data:image/png;base64,';
            })"""
        )
        assert self.page.evaluate("window.__pwn") is None
