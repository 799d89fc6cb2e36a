"""The tabs, one folder each: ``page.py`` builds it, beside the Python, JavaScript and CSS that it alone needs."""
