"""Prompts: what to segment. One `Prompt` asks for one object; `Prompts` holds all those of one image in columns."""

from __future__ import annotations

from samovar.kinds import KINDS, Kind
from samovar.prompts.columns import Prompts, PromptsLike
from samovar.prompts.prompt import Exemplar, Ident, Prompt

__all__ = ["KINDS", "Exemplar", "Ident", "Kind", "Prompt", "Prompts", "PromptsLike"]
