"""The Import and export panel."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.app.pages.base import LONG_MS, Part

DROP = """([name, text]) => {
    const files = new DataTransfer();
    files.items.add(new File([text], name));
    document.dispatchEvent(new DragEvent('dragover', {dataTransfer: files, bubbles: true, cancelable: true}));
    document.dispatchEvent(new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true}));
}"""


class ImportExportPanel(Part):
    """The drawer at the right."""

    def __init__(self, page: Page):
        super().__init__(page, page.get_by_role("dialog", name="Import and export"))

    @property
    def toggle(self) -> Locator:
        """The button of the header that opens and closes it."""
        return self.page.locator(".af-bar").get_by_role("button", name="Import and export")

    def open(self) -> None:
        self.toggle.click()
        expect(self.root).to_be_visible()

    def drop(self, name: str, text: str) -> None:
        """Drop a file onto the page, as a person does with the mouse."""
        self.page.evaluate(DROP, [name, text])

    def choose(self, file) -> None:
        """Choose a file: a path, or {name, mimeType, buffer}."""
        self.root.locator("input[type=file]").set_input_files(file)

    @property
    def dialog(self) -> Locator:
        """The dialog of an import: what the file is, how it is read, and its first rollouts."""
        return self.page.get_by_role("dialog", name="Import a file")

    @property
    def preview(self) -> Locator:
        return self.dialog.get_by_role("region", name="Preview")

    def submit(self) -> None:
        """Import the file of the dialog."""
        self.dialog.get_by_role("button", name="Import", exact=True).click()

    @property
    def imported(self) -> Locator:
        return self.root.locator(".af-imported")

    def finding(self, code: str) -> Locator:
        """A finding of the check."""
        return self.root.locator(".af-finding", has_text=code)

    def example(self, code: str) -> Locator:
        """The first example of a finding: a button that opens it."""
        return self.finding(code).get_by_role("button").first

    def expect_imported(self) -> None:
        expect(self.imported).to_be_visible(timeout=LONG_MS)

    @property
    def export_form(self) -> Locator:
        return self.root.locator("form").last
