"""Where the tiers were registered before `samovar.caching`, for installations whose entry points still say so."""

from samovar.caching import register_cache_tiers

__all__ = ["register_cache_tiers"]
