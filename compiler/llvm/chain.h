// Unrolled updates of accumulators and the stores behind them: in what order their steps can run.
//
//   unroll k, b, a: acc[b,a] += x[k,a] * w[k,b]        a Chain: reduced loops k, parallel ones b and a
//   unroll b, a: y[b,a] = max(acc[b,a], 0)             its Ends: what can run once a sum has its last step
#pragma once

#include "ir/nest.h"

#include <optional>
#include <set>
#include <span>
#include <vector>

namespace cnnc {

constexpr int64_t unbounded = int64_t{1} << 60; // what ranges end at that have no end

struct Chain {
  std::vector<const Loop*> reduced, parallel;
  const std::vector<Node>* body = nullptr;
  const Loop* lanes = nullptr; // around the store, or none
  const Store* store = nullptr;
  std::vector<const Expr*> operands; // reads of memory
};

// Values of loops, one each.
using Instance = std::vector<int64_t>;

// A chain that begins with this loop; nothing where the loops are no such updates.
std::optional<Chain> chain_of(const Loop& outermost, const Nest&);

// The same steps in the same order, and accumulators apart.
bool may_join(const Chain&, const Chain&);

// Sorts the parallel loops so that the operands need the fewest registers.
void order_parallel(Chain&);

// Each product reads a number, or a group of them, that no other one reads.
bool has_own_factors(const Chain&);

// Registers that all operands together would fill.
int64_t held_by(const Chain&);

// The reduced loops and then the parallel ones.
std::vector<const Loop*> loops_of(const Chain&);

// How many values they have together, or 2^30 where those are more.
int64_t steps_of(const std::vector<const Loop*>&);

// All of them, the last loop's value changing fastest; of the loop `grouped` the first value of each group.
std::vector<Instance> instances_of(const std::vector<const Loop*>&, int grouped = -1, int64_t group = 1);

// All of them, in groups of three or four neighbours: whole rows of the last loop, or parts of one row.
std::vector<std::vector<Instance>> in_groups(const std::vector<const Loop*>&);

// Values of `loops_of` in an order in which an operand that most others overlap is read once, element by element, while
// the others are kept in registers; nothing where they do not fit beside the accumulators, where little is saved, or where
// a sum would change its order. Sums that `may_end` leave their registers to others.
std::vector<Instance> by_element(const Chain&, int64_t registers, int64_t accumulators, bool may_end);

// Loops of stores behind chains that read their sums.
class Ends {
public:
  // What runs for one value of each loop.
  struct End {
    const std::vector<const Loop*>* loops;
    const std::vector<Node>* body;
    Instance values;
  };

  // Takes the first nodes that are such loops, as many as there are. `groups`: by buffer; those of one number may share
  // their bytes.
  Ends(std::span<const Node> behind, const std::vector<Chain>&, const Nest&, const std::vector<int>& groups);
  size_t nodes() const { return taken.size(); }

  // The chain's sum for these values of `loops_of` has its last step: what can run now, in the loops' order.
  std::vector<End> ready(const Chain&, const Instance& values);

private:
  using Place = std::pair<int, std::vector<int64_t>>; // buffer and subscripts, without the lanes
  struct Taken {
    std::vector<const Loop*> loops;
    const std::vector<Node>* body;
    std::vector<const Expr*> sums; // that it reads
  };
  struct Waiting {
    size_t taken;
    Instance values;
    std::set<Place> sums;
  };
  std::vector<Taken> taken;
  std::vector<Waiting> waiting; // in the order of the loops
};

} // namespace cnnc
