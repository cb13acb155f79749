"""The reference page says of each model what its spec says."""

from __future__ import annotations

import pytest

from samovar_plugins.sam.plugin import MODELS, Model
from tests.conftest import ROOT

ROWS = (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_table_of_models_agrees_with_the_spec(model: Model) -> None:
    (row,) = (row for row in ROWS if row.startswith(f"| `{model.name}` "))
    spec = model.spec
    assert f"| {model.parameters / 1e6:.1f} M |" in row
    assert f"| {model.embedding_bytes >> 20} MiB |" in row
    assert f"| {', '.join(kind for kind in ('points', 'box', 'mask') if kind in spec.prompts)} |" in row
    assert f"| {spec.licence} |" in row
    assert f"({spec.weights})" in row
