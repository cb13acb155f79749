"""Plugins: each knows one family of models and the runtime, and no tool."""
