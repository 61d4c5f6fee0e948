#pragma once

#include <cstddef>
#include <span>

namespace fl::deploy {

// How many singular values of a matrix stand out from noise of unknown strength: the analytic
// solution of empirical variational Bayesian matrix factorization (Nakajima, Sugiyama, Babacan &
// Tomioka 2013, JMLR 14; on the unfoldings of a kernel: Kim et al. 2016, arXiv:1511.06530).
//
// With L <= M the matrix's extents, alpha = L / M and tau = 2.5129 sqrt(alpha), a singular value
// stays where it exceeds sqrt(M s^2 (1 + tau) (1 + alpha / tau)); the variance s^2 of the noise is
// the one of least free energy, found among 256 in proportion, then by golden sections.
//
// `singular_values`: min(rows, columns) of them, not negative, in any order; rows, columns >= 1.
// 0 when nothing stands out. Thread safety: pure function.
std::size_t VariationalRank(std::span<const double> singular_values, std::size_t rows,
                            std::size_t columns);

}  // namespace fl::deploy
