#include "passes/stages.h"

#include "ir/subscripts.h"

#include <algorithm>

namespace cnnc {

namespace {

class Builder {
public:
  Builder(const Graph& graph, const Kernel& kernel)
      : graph(graph),
        kernel(kernel),
        is_read_elsewhere(graph.values.size())
  {
    for (const Op& op : graph.ops)
      if (op.kernel != this_kernel())
        for (int input : op.inputs)
          if (input >= 0)
            is_read_elsewhere[input] = true;
  }

  StagedKernel build()
  {
    for (int op : kernel.ops)
      add_op(graph.ops[op]);
    for (Stage& stage : result.stages)
      drop_unused_tap(stage);
    if (!kernel.ops.empty())
      result.location = graph.ops[kernel.ops.front()].location;
    return std::move(result);
  }

private:
  int tensor_of(int value)
  {
    for (size_t t = 0; t < result.tensors.size(); t++)
      if (result.tensors[t].value == value)
        return static_cast<int>(t);
    const Value& v = graph.values[value];
    result.tensors.push_back({v.name, v.type, value, is_stored(value), -1});
    return static_cast<int>(result.tensors.size()) - 1;
  }

  bool is_stored(int value) const
  {
    const Value& v = graph.values[value];
    if (v.kind != ValueKind::result || graph.ops[v.op].kernel != this_kernel())
      return true;
    for (int output : graph.outputs)
      if (output == value)
        return true;
    for (const StateUpdate& update : graph.updates)
      if (update.value == value)
        return true;
    return is_read_elsewhere[value];
  }

  int this_kernel() const { return static_cast<int>(&kernel - graph.kernels.data()); }

  void add_op(const Op& op)
  {
    Formula formula = formula_of(graph, op);
    std::vector<int> to;
    size_t input = 0, output = 0;
    for (const FormulaTensor& tensor : formula.tensors) {
      if (tensor.role == Role::input)
        to.push_back(tensor_of(op.inputs[formula.input_numbers[input++]]));
      else if (tensor.role == Role::output && output < op.outputs.size() && op.outputs[output] >= 0)
        to.push_back(tensor_of(op.outputs[output++]));
      else { // also an output that nobody keeps
        output += tensor.role == Role::output;
        result.tensors.push_back({op.name + "." + tensor.name, tensor.type, -1, false, -1});
        to.push_back(static_cast<int>(result.tensors.size()) - 1);
      }
    }
    for (Statement& s : formula.statements) {
      s.target = to[s.target];
      if (s.tap >= 0)
        s.tap = to[s.tap];
      s.value = transform(s.value, [&](const ExprPtr& e) {
        return e->fn == Fn::read ? read(to[e->tensor], e->type, e->at, e->checked) : e;
      });
    }
    add_statements(formula.statements, op.location);
    first_of_op = result.stages.size();
  }

  // A sum that goes on after other statements waits for its last part, so that all of it is one accumulator:
  //   s[c] += a[c]; t[c] += b[n,c]; s[c] += t[c]   =>   t[c] += b[n,c]; s[c] += a[c]; s[c] += t[c]
  static void gather_sums(std::vector<Statement>& statements)
  {
    const auto begin = statements.begin();
    for (auto s = statements.end(); s != begin;) {
      --s;
      const auto next =
          std::find_if(s + 1, statements.end(), [&](const Statement& k) { return k.target == s->target; });
      if (next == statements.end() || s->update == Update::assign || s->update != next->update || s->tap >= 0 ||
          next->tap >= 0 || !same_box(*s, *next))
        continue;
      const bool may_wait = std::none_of(s + 1, next, [&](const Statement& between) {
        return reads(*between.value, s->target) || reads(*s->value, between.target) ||
               (between.tap >= 0 && reads(*s->value, between.tap));
      });
      if (may_wait)
        std::rotate(s, s + 1, next);
    }
  }

  void add_statements(std::vector<Statement>& statements, const Location& where)
  {
    gather_sums(statements);
    for (size_t i = 0; i < statements.size(); i++) {
      Statement& s = statements[i];
      std::vector<size_t> later;
      for (size_t k = i + 1; k < statements.size(); k++)
        if (statements[k].target == s.target)
          later.push_back(k);
      bool reduces = s.update != Update::assign;
      if (!reduces && !later.empty() && statements[later[0]].update != Update::assign) {
        // A first value, then updates: the accumulators start from it.
        if (starts_all(s, statements, later)) {
          first_values[s.target] = s;
          continue;
        }
        add_pointwise(s, where);
        in_memory.push_back(s.target);
        continue;
      }
      if (!reduces)
        add_pointwise(s, where);
      else
        add_reduction(s, statements, i, where);
    }
  }

  // Every update's elements can start from `first` on their own, and together they cover it.
  bool starts_all(const Statement& first, const std::vector<Statement>& statements, const std::vector<size_t>& later)
  {
    if (!is_bare(first))
      return false;
    int64_t covered = 0;
    for (size_t i : later) {
      const Statement& s = statements[i];
      if (s.update == Update::assign || !is_one_to_one(s) || !stays_inside(s))
        return false;
      bool again = false; // adds to the very box of an earlier one
      for (size_t k : later) {
        if (k >= i)
          break;
        if (same_box(statements[k], s))
          again = true;
        else if (!never_meet(statements[k], s))
          return false;
      }
      if (!again)
        covered += points(s);
    }
    return covered == points(first);
  }

  bool stays_inside(const Statement& s) const
  {
    return is_inside(s.at, result.tensors[s.target].type.shape, s.indices);
  }

  static int64_t points(const Statement& s)
  {
    int64_t count = 1;
    for (size_t i = 0; i < s.indices.size(); i++)
      if (s.is_output_index(static_cast<int>(i)))
        count *= s.indices[i].extent.size;
    return count;
  }

  static bool is_bare(const Statement& s)
  {
    std::vector<int> seen;
    for (const Affine& at : s.at) {
      if (at.is_constant() && at.constant == 0)
        continue;
      int index = at.bare();
      if (index < 0 || std::find(seen.begin(), seen.end(), index) != seen.end())
        return false;
      seen.push_back(index);
    }
    return true;
  }

  static bool same_box(const Statement& a, const Statement& b)
  {
    if (a.target != b.target) // nor need they have as many subscripts
      return false;
    for (size_t d = 0; d < a.at.size(); d++) {
      if (a.at[d].is_constant() && a.at[d] == b.at[d])
        continue;
      int x = a.at[d].bare(), y = b.at[d].bare();
      if (x < 0 || y < 0 || !(a.indices[x].extent == b.indices[y].extent))
        return false;
    }
    return is_bare(a) && is_bare(b);
  }

  // The statement's indices renumbered: those of the box first, in the order of the left side.
  struct Renumbered {
    std::vector<Index> box, reduced;
    std::vector<int> to;
  };
  static Renumbered renumber_indices(const Statement& s)
  {
    Renumbered r;
    r.to.assign(s.indices.size(), -1);
    for (const Affine& at : s.at) {
      std::vector<Affine::Term> terms = at.terms;
      std::stable_sort(terms.begin(), terms.end(),
                       [](auto& a, auto& b) { return std::abs(a.factor) > std::abs(b.factor); });
      for (const Affine::Term& term : terms)
        if (term.index >= 0 && r.to[term.index] < 0) {
          r.to[term.index] = static_cast<int>(r.box.size());
          r.box.push_back(s.indices[term.index]);
        }
    }
    for (size_t i = 0; i < s.indices.size(); i++)
      if (r.to[i] < 0) {
        r.to[i] = static_cast<int>(r.box.size() + r.reduced.size());
        r.reduced.push_back(s.indices[i]);
      }
    return r;
  }

  static std::function<Affine(const Affine&)> renumbering(const std::vector<int>& to)
  {
    return [&to](const Affine& a) { return renumber(a, [&](int i) { return i < 0 ? i : to[i]; }); };
  }

  void add_pointwise(const Statement& s, const Location& where)
  {
    Renumbered r = renumber_indices(s);
    if (!r.reduced.empty())
      throw InternalError("an assignment with reduced indices");
    if (join(s) || (first_of_op > 0 && !has_images(s) && add_before(s, where)))
      return;
    Stage stage;
    stage.location = where;
    stage.box = r.box;
    auto to = renumbering(r.to);
    stage.writes.push_back({s.target, mapped(s.at, to), map_affine(s.value, to)});
    stage.makes.push_back(s.target);
    push(std::move(stage));
  }

  static bool has_images(const Statement& s)
  {
    return std::any_of(s.indices.begin(), s.indices.end(), [](const Index& i) { return i.extent.batch; });
  }

  // What a later op prepares once for all images stands in front of the stages that it does not need: between them it
  // would end the registers of the last one. False where the last stage is needed.
  bool add_before(const Statement& s, const Location& where)
  {
    int needed = result.tensors[s.target].stage;
    for_each(*s.value, [&](const Expr& e) {
      if (e.fn == Fn::read)
        needed = std::max(needed, result.tensors[e.tensor].stage);
    });
    if (needed == last_stage())
      return false;
    std::vector<Stage> behind(std::make_move_iterator(result.stages.begin() + needed + 1),
                              std::make_move_iterator(result.stages.end()));
    result.stages.erase(result.stages.begin() + needed + 1, result.stages.end());
    add_pointwise(s, where);
    for (Stage& stage : behind)
      push(std::move(stage));
    return true;
  }

  static std::vector<Affine> mapped(const std::vector<Affine>& at, const std::function<Affine(const Affine&)>& to)
  {
    std::vector<Affine> result;
    for (const Affine& a : at)
      result.push_back(to(a));
    return result;
  }

  // A pointwise statement becomes a part of the last stage where it reads what that makes, point for point, or is of the
  // same op and over the same box. What is made in parts, as y[2*h], y[2*h + 1], is read in as many.
  bool join(const Statement& s)
  {
    if (result.stages.empty() || result.stages.back().scatters)
      return false;
    Stage& stage = result.stages.back();
    std::vector<const Expr*> of_stage;
    for_each(*s.value, [&](const Expr& e) {
      if (e.fn == Fn::read && result.tensors[e.tensor].stage == last_stage())
        of_stage.push_back(&e);
    });
    std::vector<std::vector<Affine>> places; // for each part, what each index of the statement is in the stage's box
    if (!of_stage.empty()) {
      for (const Expr* e : of_stage) // all parts must be at hand
        for (size_t before = 0; before + 1 < result.stages.size(); before++)
          if (!made_at(result.stages[before], e->tensor).empty())
            return false;
      for (const std::vector<Affine>* made : made_at(stage, of_stage[0]->tensor)) {
        std::optional<std::vector<Affine>> place = place_of(s, of_stage[0]->at, of_stage[0]->tensor, *made);
        if (!place)
          return false;
        for (const Expr* e : of_stage)
          if (!is_made_at(stage, e->tensor, at_place(e->at, *place)))
            return false;
        places.push_back(std::move(*place));
      }
    } else if (last_stage() >= static_cast<int>(first_of_op) && stage.target < 0 && is_same_box(s, stage)) {
      std::vector<Affine> place;
      const Renumbered numbers = renumber_indices(s);
      for (const int to : numbers.to)
        place.push_back(Affine::of(to));
      places.push_back(std::move(place));
    } else if (result.tensors[s.target].stage == last_stage()) {
      // It adds nothing to its own tensor but continues it (y = c; y = x[...]): also point for point.
      const std::vector<const std::vector<Affine>*> made = made_at(stage, s.target);
      std::optional<std::vector<Affine>> place = place_of(s, s.at, s.target, *made.back());
      if (!place)
        return false;
      places.push_back(std::move(*place));
    }
    if (places.empty())
      return false;
    for (const std::vector<Affine>& place : places)
      stage.writes.push_back(
          {s.target, at_place(s.at, place), map_affine(s.value, [&](const Affine& a) { return at_place(a, place); })});
    if (std::find(stage.makes.begin(), stage.makes.end(), s.target) == stage.makes.end())
      stage.makes.push_back(s.target);
    result.tensors[s.target].stage = last_stage();
    return true;
  }

  static bool is_same_box(const Statement& s, const Stage& stage)
  {
    return same_extents(renumber_indices(s).box, stage.box);
  }

  // The statement's indices over the stage's box, where the element `at` is the one that the stage makes at `made`; each
  // index is bare in a subscript, and takes all of that dimension.
  std::optional<std::vector<Affine>> place_of(const Statement& s, const std::vector<Affine>& at, int tensor,
                                              const std::vector<Affine>& made) const
  {
    std::vector<Affine> place(s.indices.size());
    std::vector<bool> is_known(s.indices.size());
    if (at.size() != made.size())
      return std::nullopt;
    for (size_t d = 0; d < at.size(); d++) {
      if (made[d].is_constant() && at[d] == made[d])
        continue;
      const int mine = at[d].bare();
      if (mine < 0 || !(s.indices[mine].extent == result.tensors[tensor].type.shape[d]) ||
          (is_known[mine] && !(place[mine] == made[d])))
        return std::nullopt;
      place[mine] = made[d];
      is_known[mine] = true;
    }
    if (std::find(is_known.begin(), is_known.end(), false) != is_known.end())
      return std::nullopt;
    return place;
  }

  static Affine at_place(const Affine& a, const std::vector<Affine>& place)
  {
    Affine result = a.constant;
    for (const Affine::Term& term : a.terms)
      result += term.index < 0 ? Affine::of(term.index, term.factor) : place[term.index] * term.factor;
    return result;
  }

  static std::vector<Affine> at_place(const std::vector<Affine>& at, const std::vector<Affine>& place)
  {
    return mapped(at, [&](const Affine& a) { return at_place(a, place); });
  }

  int last_stage() const { return static_cast<int>(result.stages.size()) - 1; }

  // Where the stage makes elements of the tensor, each place once.
  static std::vector<const std::vector<Affine>*> made_at(const Stage& stage, int tensor)
  {
    std::vector<const std::vector<Affine>*> places;
    auto add = [&](const std::vector<Affine>& at) {
      if (std::none_of(places.begin(), places.end(), [&](const auto* known) { return *known == at; }))
        places.push_back(&at);
    };
    if (tensor == stage.target || tensor == stage.tap)
      add(stage.at);
    for (const Stage::Write& write : stage.writes)
      if (write.tensor == tensor)
        add(write.at);
    return places;
  }

  static bool is_made_at(const Stage& stage, int tensor, const std::vector<Affine>& at)
  {
    const auto places = made_at(stage, tensor);
    return std::any_of(places.begin(), places.end(), [&](const auto* place) { return *place == at; });
  }

  void add_reduction(const Statement& s, const std::vector<Statement>& statements, size_t number, const Location& where)
  {
    Renumbered r = renumber_indices(s);
    auto to = renumbering(r.to);
    // A second sum into the same box continues the accumulator.
    if (!result.stages.empty()) {
      Stage& last = result.stages.back();
      if (last.target == s.target && last.writes.empty() && !last.scatters && last.update == s.update && s.tap < 0 &&
          last.at == mapped(s.at, to) && same_extents(last.box, r.box)) {
        last.reductions.push_back({r.reduced, map_affine(s.value, to)});
        return;
      }
    }
    Stage stage;
    stage.location = where;
    stage.box = r.box;
    stage.target = s.target;
    stage.tap = s.tap;
    stage.update = s.update;
    stage.at = mapped(s.at, to);
    stage.makes.push_back(s.target);
    if (s.tap >= 0)
      stage.makes.push_back(s.tap);
    DType type = result.tensors[s.target].type.dtype;
    auto first = first_values.find(s.target);
    bool others_overlap = false;
    for (size_t k = 0; k < statements.size(); k++) {
      if (k == number || statements[k].target != s.target || statements[k].update == Update::assign)
        continue;
      // What stands before in the same box is a sum that could not be continued, or it would not have come to this.
      const bool is_first_of_box = k > number && same_box(statements[k], s);
      if (!is_first_of_box && !never_meet(statements[k], s))
        others_overlap = true;
    }
    bool continues = std::find(in_memory.begin(), in_memory.end(), s.target) != in_memory.end();
    stage.scatters = continues || others_overlap || !is_one_to_one(s);
    if (stage.scatters) {
      if (!continues) {
        fill_first(s.target, s.update, where);
        in_memory.push_back(s.target);
      }
    } else if (first != first_values.end()) {
      // first: y[a,b] = f(a,b); here y[at...]: f at the subscripts
      const Statement& f = first->second;
      stage.start = map_affine(f.value, [&](const Affine& a) {
        Affine mapped_to = a.constant;
        for (const Affine::Term& term : a.terms) {
          if (term.index < 0) {
            mapped_to += Affine::of(term.index, term.factor);
            continue;
          }
          for (size_t d = 0; d < f.at.size(); d++)
            if (f.at[d].bare() == term.index)
              mapped_to += stage.at[d] * term.factor;
        }
        return mapped_to;
      });
    }
    if (!stage.start)
      stage.start = constant(identity(s.update), type);
    stage.reductions.push_back({r.reduced, map_affine(s.value, to)});
    push(std::move(stage));
    if (!result.stages.back().scatters)
      fill_uncovered(s, statements, number, where);
  }

  static bool same_extents(const std::vector<Index>& a, const std::vector<Index>& b)
  {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const Index& x, const Index& y) { return x.extent == y.extent; });
  }

  // Elements that no update reaches (phases of a stride without taps) hold the identity.
  void fill_uncovered(const Statement& s, const std::vector<Statement>& statements, size_t number,
                      const Location& where)
  {
    if (first_values.count(s.target) || std::find(in_memory.begin(), in_memory.end(), s.target) != in_memory.end())
      return;
    int64_t covered = 0, all = 1;
    for (size_t k = 0; k < statements.size(); k++) {
      if (statements[k].target != s.target)
        continue;
      if (k > number)
        return; // the last one looks
      bool again = false;
      for (size_t m = 0; m < k; m++)
        again = again || (statements[m].target == s.target && same_box(statements[m], statements[k]));
      if (!again && stays_inside(statements[k]))
        covered += points(statements[k]);
    }
    for (const Dim& dim : result.tensors[s.target].type.shape)
      all *= dim.size;
    if (covered == all)
      return;
    // Filled first, then the stages write over it.
    size_t at = result.stages.size() - 1;
    while (at > 0 && result.stages[at - 1].target == s.target)
      at--;
    insert_fill(at, fill_stage(s.target, s.update, where));
  }

  Stage fill_stage(int tensor, Update update, const Location& where)
  {
    Stage stage;
    stage.location = where;
    std::vector<Affine> at;
    const char* names[] = {"a", "b", "c", "d", "e", "f"};
    for (const Dim& dim : result.tensors[tensor].type.shape) {
      at.push_back(Affine::of(static_cast<int>(stage.box.size())));
      stage.box.push_back({dim.batch ? "n" : stage.box.size() < 6 ? names[stage.box.size()] : "g", dim});
    }
    stage.writes.push_back({tensor, at, constant(identity(update), result.tensors[tensor].type.dtype)});
    stage.makes.push_back(tensor);
    return stage;
  }

  // Before whatever wrote a part of it already.
  void fill_first(int tensor, Update update, const Location& where)
  {
    size_t at = first_of_op;
    const auto writes_it = [&](const Stage& stage) {
      return stage.target == tensor || std::any_of(stage.writes.begin(), stage.writes.end(),
                                                   [&](const Stage::Write& write) { return write.tensor == tensor; });
    };
    while (at < result.stages.size() && !writes_it(result.stages[at]))
      at++;
    if (at == result.stages.size())
      push(fill_stage(tensor, update, where));
    else
      insert_fill(at, fill_stage(tensor, update, where));
  }

  void insert_fill(size_t at, Stage filler)
  {
    filler.makes.clear();
    result.stages.insert(result.stages.begin() + static_cast<std::ptrdiff_t>(at), std::move(filler));
    for (StageTensor& tensor : result.tensors)
      if (tensor.stage >= static_cast<int>(at))
        tensor.stage++;
  }

  void push(Stage stage)
  {
    result.stages.push_back(std::move(stage));
    for (int tensor : result.stages.back().makes)
      result.tensors[tensor].stage = last_stage();
  }

  // A tap that nobody reads is not kept.
  void drop_unused_tap(Stage& stage)
  {
    if (stage.tap < 0)
      return;
    const StageTensor& tap = result.tensors[stage.tap];
    bool used = tap.value >= 0 && tap.stored;
    for (const Stage& other : result.stages) {
      for (const Stage::Reduction& reduction : other.reductions)
        used = used || reads(*reduction.value, stage.tap);
      for (const Stage::Write& write : other.writes)
        used = used || reads(*write.value, stage.tap);
    }
    if (!used)
      stage.tap = -1;
  }

  const Graph& graph;
  const Kernel& kernel;
  std::vector<bool> is_read_elsewhere; // for each value of the graph
  StagedKernel result;
  std::map<int, Statement> first_values;
  std::vector<int> in_memory;
  size_t first_of_op = 0; // stages of the ops before
};

} // namespace

StagedKernel stages_of(const Graph& graph, const Kernel& kernel)
{
  return Builder(graph, kernel).build();
}

void for_each_value(const Stage& s, const std::function<void(const Expr&)>& visit)
{
  if (s.start)
    for_each(*s.start, visit);
  for (const Stage::Reduction& reduction : s.reductions)
    for_each(*reduction.value, visit);
  for (const Stage::Write& write : s.writes)
    for_each(*write.value, visit);
}

bool can_write_in_place(const StagedKernel& kernel, int made, int old)
{
  if (kernel.tensors[made].stage < 0)
    return false;
  const Stage& maker = kernel.stages[kernel.tensors[made].stage];
  auto is_it = [&](const Stage::Write& write) { return write.tensor == made; };
  auto write = std::find_if(maker.writes.begin(), maker.writes.end(), is_it);
  if (write == maker.writes.end() || maker.scatters ||
      std::any_of(write + 1, maker.writes.end(),
                  [&](const auto& later) { return is_it(later) || reads(*later.value, old); }))
    return false;
  bool ok = true;
  for (const Stage& stage : kernel.stages)
    for_each_value(stage, [&](const Expr& e) {
      if (e.fn == Fn::read && e.tensor == old)
        ok = ok && &stage == &maker && e.at == write->at;
    });
  return ok;
}

} // namespace cnnc
