"""The studio's tabs, a page a file. A page has NAME, TITLE and ``build(studio)``."""

from app.pages import compare, trace, train

PAGES = (trace, compare, train)
