"""The compiled parts do what plain NumPy, or SciPy, would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from samovar import Masks
from samovar.errors import WeightsError
from samovar_plugins.default.merge_trees import Tree, lay_out
from samovar_plugins.default.network import hidden_units, parameter_count, probabilities, unfold
from samovar_plugins.default.proposals import superpixel_sums, votes
from samovar_plugins.default.rag import FAR, adjacency, components, distances, network_row
from samovar_plugins.default.segmenter import cut_runs
from samovar_plugins.default.superpixels import grow_regions

seeds = st.integers(0, 2**32 - 1)


def random_tree(n: int, rng: np.random.Generator) -> tuple[Tree, NDArray[np.bool_]]:
    """A merge tree over n superpixels, and the dense (2n−1)×n membership of its nodes."""
    alive = list(range(n))
    children = np.zeros((n - 1, 2), np.int32)
    members = np.zeros((2 * n - 1, n), np.bool_)
    members[np.arange(n), np.arange(n)] = True
    for k in range(n - 1):
        a, b = (alive.pop(int(rng.integers(len(alive)))) for _ in range(2))
        children[k] = a, b
        members[n + k] = members[a] | members[b]
        alive.append(n + k)
    return lay_out(children, np.arange(1, n, dtype=np.float32), n), members


@given(seeds, st.integers(2, 30))
def test_every_node_of_a_tree_is_an_interval_of_its_leaf_order(seed: int, n: int) -> None:
    tree, members = random_tree(n, np.random.default_rng(seed))
    assert sorted(tree.order) == list(range(n))
    for node, row in enumerate(members):
        assert set(tree.order[tree.start[node] : tree.end[node]]) == set(np.flatnonzero(row))


@pytest.mark.slow
@given(seeds, st.integers(2, 25))
def test_sums_and_votes_over_intervals_are_those_of_dense_membership(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [random_tree(n, rng) for _ in range(3)]
    members = np.concatenate([dense for _, dense in pairs])
    proposal_tensors = (
        np.stack([tree.order for tree, _ in pairs]).astype(np.uint16),
        np.repeat(np.arange(3), 2 * n - 1).astype(np.uint8),
        np.concatenate([tree.start for tree, _ in pairs]).astype(np.uint16),
        np.concatenate([tree.end for tree, _ in pairs]).astype(np.uint16),
    )
    index = rng.choice(len(members), 5)
    value = rng.random(n).astype(np.float32)
    assert np.allclose(superpixel_sums(index, value, *proposal_tensors), members[index] @ value, atol=1e-4)
    weight = (rng.random((2, 5)) / 5).astype(np.float32)
    assert np.allclose(votes(index, weight, *proposal_tensors), np.minimum(weight @ members[index], 1), atol=1e-5)


def grid(rows: int, cols: int, rng: np.random.Generator) -> tuple[NDArray[np.uint16], NDArray[np.uint16], int]:
    """The two ends of every edge of a rows×cols grid of superpixels, and how many superpixels."""
    at = np.arange(rows * cols).reshape(rows, cols)
    first = np.concatenate([at[:, :-1].ravel(), at[:-1].ravel()])
    second = np.concatenate([at[:, 1:].ravel(), at[1:].ravel()])
    shuffled = rng.permutation(len(first))
    return first[shuffled].astype(np.uint16), second[shuffled].astype(np.uint16), rows * cols


@pytest.mark.slow
@given(seeds)
def test_distances_are_dijkstras(seed: int) -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy's Dijkstra is the reference")
    csgraph = pytest.importorskip("scipy.sparse.csgraph")
    rng = np.random.default_rng(seed)
    first, second, n = grid(5, 6, rng)
    strength, length = rng.random(len(first)).astype(np.float32), rng.random(len(first)).astype(np.float32)
    centre = (rng.random((n, 2)) * 50).astype(np.float32)
    offsets, neighbour, step, weight = adjacency(first, second, length, strength, centre, 2500.0)
    source = rng.random(n) < 0.15
    matrix = sparse.csr_matrix((step, neighbour, offsets), shape=(n, n))
    expected = np.full(n, np.inf)
    if source.any():
        expected = csgraph.dijkstra(matrix, indices=np.flatnonzero(source), min_only=True)
    assert np.allclose(distances(offsets, neighbour, step, source), np.minimum(expected, FAR), atol=1e-5)
    assert np.allclose(np.add.reduceat(weight, offsets[:-1]), 1, atol=1e-5)


@given(seeds)
def test_components_are_the_connected_pieces_of_either_side(seed: int) -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy's components are the reference")
    csgraph = pytest.importorskip("scipy.sparse.csgraph")
    rng = np.random.default_rng(seed)
    first, second, n = grid(6, 6, rng)
    even = np.ones(len(first), np.float32)
    offsets, neighbour, _, _ = adjacency(first, second, even, even, np.zeros((n, 2), np.float32), 1.0)
    chosen = rng.random(n) < 0.5
    same = chosen[first] == chosen[second]
    matrix = sparse.coo_matrix((even[same], (first[same], second[same])), shape=(n, n))
    count, expected = csgraph.connected_components(matrix, directed=False)
    piece, found = components(offsets, neighbour, chosen)
    assert found == count
    assert len(set(zip(piece.tolist(), expected.tolist(), strict=True))) == count


@given(seeds, st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_regions_are_large_enough_few_enough_and_numbered_in_reading_order(
    seed: int, rows: int, cols: int, most: int
) -> None:
    image = np.random.default_rng(seed).uniform(0, 255, (rows, cols, 3)).astype(np.float32)
    labels, found = grow_regions(image, 20.0, 5, most)
    sizes = np.bincount(labels.ravel(), minlength=found)
    assert found == len(sizes)
    assert found <= most
    assert sizes.min() >= min(5, rows * cols)
    _, first = np.unique(labels, return_index=True)
    assert (np.diff(first) > 0).all()


@given(seeds, st.integers(1, 12), st.integers(1, 9))
def test_a_network_is_what_its_layers_say(seed: int, inputs: int, hidden: int) -> None:
    rng = np.random.default_rng(seed)
    mean, scale = rng.normal(size=inputs), rng.uniform(0.5, 2, inputs)
    w1, b1 = rng.normal(size=(inputs, hidden)), rng.normal(size=hidden)
    w2, b2 = rng.normal(size=(hidden, hidden)), rng.normal(size=hidden)
    w3, b3 = rng.normal(size=hidden), rng.normal(size=1)
    parts = (mean, scale, w1, b1, w2, b2, w3, b3)
    net = np.concatenate([part.ravel() for part in parts]).astype(np.float32)
    assert len(net) == parameter_count(inputs, hidden)
    assert hidden_units(len(net), inputs) == hidden
    rows = rng.normal(size=(300, inputs)).astype(np.float32)
    odds = np.maximum(np.maximum((rows - mean) * scale @ w1 + b1, 0) @ w2 + b2, 0) @ w3 + b3
    assert np.allclose(probabilities(unfold(net, inputs), rows), 1 / (1 + np.exp(-np.clip(odds, -30, 30))), atol=1e-4)
    one = network_row(net, inputs, hidden, rows[0], np.empty((2, hidden), np.float32))
    assert one == pytest.approx(odds[0], abs=1e-3, rel=1e-4)


def test_a_network_with_other_inputs_is_refused() -> None:
    with pytest.raises(WeightsError, match="expected a network on 5 features"):
        hidden_units(parameter_count(4, 3), 5)


DIGEST = """
import hashlib, sys
import samovar
embedding = samovar.load("default", cache="off").embed(sys.argv[1])
digest = hashlib.sha256()
for name in sorted(embedding.tensors):
    digest.update(embedding.tensors[name].tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_compiled_and_read_back_from_numbas_cache_kernels_make_the_same_embedding(photo: Path, tmp_path: Path) -> None:
    def digest() -> str:
        places = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", DIGEST, str(photo)]
        return subprocess.run(command, env={**os.environ, **places}, capture_output=True, text=True, check=True).stdout

    compiled = digest()
    assert any(tmp_path.rglob("*.nbc"))
    assert digest() == compiled


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_a_mask_is_cut_where_the_bilinear_field_exceeds_the_threshold(
    rows: int, cols: int, height: int, width: int, seed: int, clipped: bool
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((rows, cols), np.float32)
    zoom_x, zoom_y = cols / width, rows / height
    x1, x2 = sorted(rng.integers(0, width + 1, 2).tolist()) if clipped else (0, width)
    y1, y2 = sorted(rng.integers(0, height + 1, 2).tolist()) if clipped else (0, height)
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    counts = cut_runs(np.ascontiguousarray(values.T), 0, 0, zoom_x, zoom_y, 0.5, x1, y1, x2, y2, width, height)
    cut = Masks.from_runs(counts, [0, len(counts)], width, height).to_array()[0]
    x = np.clip((np.arange(width) + 0.5) * zoom_x - 0.5, 0, cols - 1)
    y = np.clip((np.arange(height) + 0.5) * zoom_y - 0.5, 0, rows - 1)
    across = np.stack([np.interp(x, np.arange(cols), row) for row in values])
    field = np.stack([np.interp(y, np.arange(rows), column) for column in across.T], axis=1)
    wanted = np.zeros((height, width), np.bool_)
    wanted[y1:y2, x1:x2] = field[y1:y2, x1:x2] > 0.5
    sure = np.abs(field - 0.5) > 1e-5
    assert np.array_equal(cut[sure], wanted[sure])
