"""What opens over a page, one folder each: ``panel.py`` builds it, beside the Python, JavaScript and CSS that it alone needs."""
