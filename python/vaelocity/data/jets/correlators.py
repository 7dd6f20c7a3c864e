"""Energy correlation functions of a jet, e_N and the generalised 1e3 and 2e3.

With z the shares of the scalar pT sum and t the distances dR, over all different i < j < ...:

    e2  = sum z z t_ij^b
    e3  = sum z z z (t_ij t_ik t_jk)^b
    e4  = sum z z z z (product of the six distances)^b
    1e3 = sum z z z (smallest distance)^b
    2e3 = sum z z z (product of the two smallest distances)^b

C_N = e_(N+1) e_(N-1) / e_N^2     Larkoski, Salam, Thaler, arXiv:1305.0007
D_2 = e3 / e2^3                   Larkoski, Moult, Neill, arXiv:1409.6298
M_2 = 1e3 / e2, N_2 = 2e3 / e2^2  Moult, Necib, Thaler, arXiv:1609.07483

A sum over triples of a product over pairs is a matrix product, so e3 costs n^3 multiplications
in BLAS and e4 n^4 / 2; the minima of 1e3 and 2e3 cost n^3 / 3 comparisons. A jet of too few
particles has e_N = 0, and a ratio with 0 below is 0.
"""

from __future__ import annotations

import numpy as np

from vaelocity.data.jets.particles import Array, Particles, ratio


def e2(z: Array, t: Array) -> float:
    """Two-point correlator from shares [n] and distances^beta [n, n]."""
    return float(z @ t @ z) / 2


def e3(z: Array, t: Array) -> float:
    """Three-point correlator from shares [n] and distances^beta [n, n]."""
    step = z[:, None] * t  # trace(step^3) meets each triple six times
    return float(((step @ step) * step.T).sum()) / 6


def e4(z: Array, t: Array) -> float:
    """Four-point correlator from shares [n] and distances^beta [n, n]."""
    total = 0.0
    for i in range(len(z) - 1):
        # For a pair (i, j), v_k = z_k t_ik t_jk holds what links a third particle k to the pair.
        v = z * t[i] * t[i + 1 :]  # [n - i - 1, n]
        pairs = ((v @ t) * v).sum(axis=1)  # sum over k and l, each twice
        total += float(z[i] * ((z[i + 1 :] * t[i, i + 1 :]) @ pairs))
    return total / 12  # k and l in two orders, and six choices of the pair (i, j)


def generalised_e3(z: Array, angles: Array, betas: tuple[float, ...]) -> list[tuple[float, float]]:
    """(1e3, 2e3) for each beta > 0, from shares [n] and distances [n, n]."""
    sums = np.zeros((len(betas), 2))
    for i in range(len(z) - 2):
        near, rest = angles[i, i + 1 :], angles[i + 1 :, i + 1 :]
        row, column = near[:, None], near[None, :]
        smallest = np.minimum(np.minimum(row, column), rest)
        largest = np.maximum(np.maximum(row, column), rest)
        # Three points in one place have no distances: 0 / 0 is 0 here.
        two = np.divide(row * column * rest, largest, out=np.zeros_like(rest), where=largest > 0)
        weight = z[i + 1 :]
        for b, beta in enumerate(betas):
            sums[b, 0] += z[i] * (weight @ smallest**beta @ weight)
            sums[b, 1] += z[i] * (weight @ two**beta @ weight)
    return [(float(one) / 2, float(two) / 2) for one, two in sums]  # j and k in two orders


def correlators(jet: Particles, groomed: Particles) -> dict[str, float]:
    """The ratios of the feature list, of the jet and of the groomed jet."""
    z, angles = jet.z, jet.angles
    out = {"c1_b05": e2(z, np.sqrt(angles))}
    (one, two), (_, two_b2) = generalised_e3(z, angles, (1.0, 2.0))
    pair, triple = e2(z, angles), e3(z, angles)
    out |= {"c1_b1": pair, "c2_b1": ratio(triple, pair**2), "d2_b1": ratio(triple, pair**3)}
    out |= {"n2_b1": ratio(two, pair**2), "m2_b1": ratio(one, pair)}
    squares = angles**2
    pair_b2 = e2(z, squares)
    out |= {"c1_b2": pair_b2, "d2_b2": ratio(e3(z, squares), pair_b2**3)}
    out["n2_b2"] = ratio(two_b2, pair_b2**2)
    return out | _groomed(groomed.z, groomed.angles)


def _groomed(z: Array, angles: Array) -> dict[str, float]:
    ((_, two),) = generalised_e3(z, angles, (1.0,))
    pair, triple = e2(z, angles), e3(z, angles)
    return {
        "c1_b1_mmdt": pair,
        "c2_b1_mmdt": ratio(triple, pair**2),
        "d2_b1_mmdt": ratio(triple, pair**3),
        "n2_b1_mmdt": ratio(two, pair**2),
        "c3_b1_mmdt": ratio(e4(z, angles) * pair, triple**2),
    }
