"""The Trace page's client side: tokens, turns, inspector, mass and line in one component."""
