"""Prompts: what to segment. One `Prompt` asks for one object; `Prompts` holds all those of one image in columns."""

from __future__ import annotations

from samovar.deprecation import renamed_names
from samovar.prompts.prompt import Exemplar, Prompt
from samovar.prompts.prompts import PromptLike, Prompts, PromptsLike
from samovar.types import KINDS, Kind

__all__ = ["KINDS", "Exemplar", "Kind", "Prompt", "PromptLike", "Prompts", "PromptsLike"]

__getattr__ = renamed_names(__name__, {"Ident": "samovar.types.ObjectId"})
