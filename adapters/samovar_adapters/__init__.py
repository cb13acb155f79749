"""Adapters: each knows one outside tool and the runtime, and no model."""
