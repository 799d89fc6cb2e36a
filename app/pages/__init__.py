"""The studio's tabs, a page a file. A page has NAME, TITLE and ``build(studio)``."""

from app.pages import compare, groups, learn, trace, train, tune

PAGES = (trace, compare, groups, tune, train, learn)
