"""WebShop: a seeded shop, or a real WebShop product file (environments.md)."""

from actfocus_core.envs.webshop.env import TINY, WebShop, WebShopOptions

__all__ = ["TINY", "WebShop", "WebShopOptions"]
