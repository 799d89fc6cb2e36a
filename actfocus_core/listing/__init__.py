"""The list of the rollouts of a run: its columns, filters, sorting, search, and the highest tokens.

``Listing`` is one state of a run's files. Stored columns are read without tokens; those that need tokens are computed once,
and kept in a cache folder of the user (cache.py).
"""

from actfocus_core.listing.cache import Cache
from actfocus_core.listing.columns import Column
from actfocus_core.listing.listing import Listing
from actfocus_core.listing.query import Cancelled, NotReady, Page, Query, Search
from actfocus_core.listing.setting import Setting
from actfocus_core.listing.tokens import MEASURES, Extreme

__all__ = [
    "MEASURES",
    "Cache",
    "Cancelled",
    "Column",
    "Extreme",
    "Listing",
    "NotReady",
    "Page",
    "Query",
    "Search",
    "Setting",
]
