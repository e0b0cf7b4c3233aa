"""Scores as whole hundredths of a point: exact until rounded, half up and once, so that every machine gets the same.

What is rounded is said here: each part of a score, each component, and each weighted mean of them. All are at least 0.
"""

from __future__ import annotations

import numpy as np

from alerts.arrays import BoolArray, IntArray

FULL = 10_000  # 100 points


def rounded(numerator: IntArray, denominator: IntArray) -> IntArray:
    """``numerator / denominator``, halves up; both are at least 0, the denominator at least 1."""
    result: IntArray = (2 * numerator + denominator) // (2 * denominator)
    return result


def ramp(numerator: IntArray, denominator: IntArray, target: IntArray) -> IntArray:
    """From 0 at 0 straight up to 100 points where ``numerator / denominator`` is ``target`` thousandths, and no higher.

    Numerators may reach 4 × 10**11 before anything overflows.
    """
    result: IntArray = np.minimum(rounded(numerator * (FULL * 1_000), denominator * target), FULL)
    return result


def mean(values: IntArray, weights: IntArray) -> IntArray:
    """Weighted means along the last axis, rounded; -1 where nothing has a weight."""
    total = weights.sum(axis=-1)
    means: IntArray = rounded((values * weights).sum(axis=-1), np.maximum(total, 1))
    return np.where(total > 0, means, -1)


def deducted(points: IntArray, amount: int, where: BoolArray) -> IntArray:
    """``points`` less ``amount`` in some places, never below 0."""
    result: IntArray = np.maximum(points - amount * where, 0)
    return result
