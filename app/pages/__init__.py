"""The studio's tabs, a page a file. A page has NAME, TITLE and ``build(studio)``."""

from app.pages import trace, train

PAGES = (trace, train)
