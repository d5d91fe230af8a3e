// A scatter, whose terms meet at one element, as gathers, which give each element its terms at once: any order of
// elements is right then, lanes and threads may share them, and a sum stays in a register.
//
//   dx[2*h + i - 1] += dy[h] * w[i]    h < 4, i < 3, x[7]
// =>
//   dx[2*h]     += dy[h] * w[1]              h < 4
//   dx[2*h + 1] += dy[h + 1 - i] * w[2*i]    h < 3, i < 2
#pragma once

#include "ir/formula.h"

namespace cnnc {

// The statement as gathers that together do the same; in general one for each phase of each strided dimension. Phases
// without terms have none: their elements keep the zero that the first update starts from. Nothing where it is no `+=`,
// where it cannot be done (no read proves the range of the index that is solved for; the batch is in the window), or
// where no two of its terms meet: y[n, c*H*W + h*W + w], x[n, g*G + c, ...], dx[n,c,2*h + i] with i < 2 stay as they
// are.
std::optional<std::vector<Statement>> gather(const Statement& scatter, const Formula& formula);

// All that can be done, in place. Returns the number of statements that were rewritten.
int gather_scatters(Formula&);

} // namespace cnnc
