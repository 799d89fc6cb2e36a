"""The studio's tabs, a page a file. A page has NAME, TITLE and ``build(studio)``."""

from app.pages import groups, trace, train, tune

PAGES = (trace, groups, tune, train)
