"""Adjacencies as sums of few rank-one terms: ``A_k[v, w] = sum_j a[k, j] sum_i left[v, j, i] right[w, j, i]``.

K matrices of V x V are a tensor of K V^2 numbers, and a tensor of that size is in general a sum of far fewer than K
V terms: three 17 x 17 matrices need 26, not 51 (Strassen, Linear Algebra Appl. 52/53, 1983). The terms here come in
m groups of r that share their ``a``: then only m mixtures of the K weight matrices occur (joint_rank.py), and m r
terms suffice as soon as there are as many unknowns, ``m (2 V r - r^2) + m (K - 1)``, as equations, ``K V^2``.

Found by Levenberg-Marquardt with least-norm steps in float64: quadratic convergence to the last bit, in some 20
steps; with few unknowns to spare the search stalls, the earlier the more matrices there are. The start is seeded, and
what was found is rounded and improved once more: rounding that differs between processors and numbers of threads grows
to 1e-11 on the way, and to nothing that a float32 shows from a point that all of them begin at. So the same adjacencies
give the same terms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_SPARE_UNKNOWNS = 0.0094
_STEPS = 80
_PATIENCE = 12
_LEAST_FALL = 0.75
_CONVERGED = 2e-15
_ACCEPTED = 2e-14
_LARGEST_GAIN = 12.0
_SEEDS = (0, 1)
_START_DAMPING = 0.1
_ROUNDED = 2.0**-12


@dataclass(frozen=True)
class Terms:
    """Rank-one terms in m groups of r.

    Args:
        mixtures: ``a``, ``(K, m)``.
        left: ``(V, m, r)``.
        right: ``(V, m, r)``.
    """

    mixtures: Array
    left: Array
    right: Array

    @property
    def count(self) -> int:
        return int(self.left.shape[1] * self.left.shape[2])

    def tensor(self) -> Array:
        """The matrices that the terms sum to, ``(K, V, V)``."""
        return np.asarray(np.einsum("kj,vji,wji->kvw", self.mixtures, self.left, self.right, optimize=True))

    def turned(self) -> Terms:
        """The same sum, with ``sum_i right[w, j, i]`` what the group makes of a vector of ones.

        A group stays what it is with ``left G^-T, right G`` for left and right; here G is a multiple of a reflection.
        """
        left, right = self.left.copy(), self.right.copy()
        rank = left.shape[2]
        for group in range(left.shape[1]):
            sums = left[:, group].sum(axis=0)
            length = float(np.linalg.norm(sums))
            mirror = np.full(rank, rank**-0.5) - sums / (length or 1.0)
            if length == 0 or not mirror.any():
                continue
            matrix = np.eye(rank) - 2 * np.outer(mirror, mirror) / (mirror @ mirror)
            right[:, group] = right[:, group] @ matrix * (length * rank**-0.5)
            left[:, group] = left[:, group] @ matrix / (length * rank**-0.5)
        return Terms(self.mixtures, left, right)

    def gain(self) -> float:
        """Largest sum of magnitudes of the terms over the largest sum: how much rounding grows."""
        size = np.einsum("kj,vji,wji->kvw", *map(np.abs, (self.mixtures, self.left, self.right)), optimize=True)
        return float(size.max() / np.abs(self.tensor()).max())


def groupings(subsets: int, joints: int, most_mixtures: int) -> Iterator[tuple[int, int]]:
    """Pairs (m, r) with enough unknowns, fewest terms first; none with more than three quarters of K V terms."""
    if subsets == 1:
        return iter(())
    equations = subsets * joints**2
    found = []
    for mixtures in range(subsets, most_mixtures + 1):
        for rank in range(1, joints + 1):
            unknowns = mixtures * (2 * joints * rank - rank**2 + subsets - 1)
            if unknowns >= (1 + _SPARE_UNKNOWNS * subsets**2) * equations and mixtures * rank >= joints:
                found.append((mixtures, rank))
                break
    few = [pair for pair in found if pair[0] * pair[1] <= 0.75 * subsets * joints]
    return iter(sorted(few, key=lambda pair: (pair[0] * pair[1], pair[0])))


def decompose(adjacency: Array, mixtures: int, rank: int) -> Terms | None:
    """Terms that sum to `adjacency` ``(K, V, V)`` to the last bits of float64, or None where none were found."""
    size = float(np.abs(adjacency).max())
    if size == 0:
        return None
    for seed in _SEEDS:
        terms, error = _search(adjacency / size, _start(adjacency, mixtures, rank, seed), _START_DAMPING)
        if error > _ACCEPTED:
            continue
        terms, error = _search(adjacency / size, _rounded(terms), _ROUNDED)
        if error <= _ACCEPTED and terms.gain() <= _LARGEST_GAIN:
            return Terms(terms.mixtures * size, terms.left, terms.right).turned()
    return None


def _start(target: Array, mixtures: int, rank: int, seed: int) -> Terms:
    random = np.random.default_rng(seed)
    subsets, joints, _ = target.shape
    start = random.standard_normal((subsets, mixtures))
    sides = [0.3 * random.standard_normal((joints, mixtures, rank)) for _ in range(2)]
    return Terms(start / np.linalg.norm(start, axis=0), sides[0], sides[1])


def _rounded(terms: Terms) -> Terms:
    return Terms(*(np.round(part / _ROUNDED) * _ROUNDED for part in (terms.mixtures, terms.left, terms.right)))


def _search(target: Array, terms: Terms, damping: float) -> tuple[Terms, float]:
    residual = terms.tensor() - target
    sizes: list[float] = []
    for step in range(_STEPS):
        sizes.append(float(np.linalg.norm(residual)))
        stalled = step >= _PATIENCE and sizes[step] > _LEAST_FALL * sizes[step - _PATIENCE]
        if stalled or np.abs(residual).max() <= _CONVERGED:
            break
        moved = _step(terms, residual, damping)
        left_over = moved.tensor() - target
        if np.sum(left_over**2) < np.sum(residual**2):
            terms, residual, damping = moved, left_over, max(0.6 * damping, 1e-15)
        else:
            damping = min(4 * damping, 1e3)
    return terms, float(np.abs(residual).max())


def _step(terms: Terms, residual: Array, damping: float) -> Terms:
    """One damped least-norm step, ``-J^T (J J^T + damping)^-1 residual``; J J^T has three structured parts."""
    subsets, joints, _ = residual.shape
    scaled_left = np.einsum("kj,vji->kvji", terms.mixtures, terms.left).reshape(subsets * joints, -1)
    scaled_right = np.einsum("kj,wji->kwji", terms.mixtures, terms.right).reshape(subsets * joints, -1)
    groups = np.einsum("vji,wji->vwj", terms.left, terms.right, optimize=True).reshape(joints**2, -1)
    gram = np.zeros((subsets, joints, joints, subsets, joints, joints))
    by_group = (groups @ groups.T).reshape(joints, joints, joints, joints)
    by_right = (scaled_right @ scaled_right.T).reshape(subsets, joints, subsets, joints)
    by_left = (scaled_left @ scaled_left.T).reshape(subsets, joints, subsets, joints)
    for subset in range(subsets):
        gram[subset, :, :, subset] += by_group
    for joint in range(joints):
        gram[:, joint, :, :, joint, :] += by_right
        gram[:, :, joint, :, :, joint] += by_left
    square = gram.reshape(residual.size, residual.size)
    square.flat[:: residual.size + 1] += damping
    dual = -np.linalg.solve(square, residual.ravel()).reshape(residual.shape)
    return Terms(
        terms.mixtures + np.einsum("kvw,vji,wji->kj", dual, terms.left, terms.right, optimize=True),
        terms.left + np.einsum("kvw,kj,wji->vji", dual, terms.mixtures, terms.right, optimize=True),
        terms.right + np.einsum("kvw,kj,vji->wji", dual, terms.mixtures, terms.left, optimize=True),
    )
