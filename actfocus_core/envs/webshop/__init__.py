"""WebShop: a shop with a seeded synthetic catalogue or a WebShop product file."""

from actfocus_core.envs.webshop.env import TINY, WebShop, WebShopOptions

__all__ = ["TINY", "WebShop", "WebShopOptions"]
