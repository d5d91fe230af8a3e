// Text and shapes => Formula.
//
//   y[...] = select(x[...] < 0, 0, x[...])    with x: f32[n,6,28,28]
// =>
//   y[n,c,h,w] = select(x[n,c,h,w] < 0, 0, x[n,c,h,w])    n < N, c < 6, h < 28, w < 28;  y: f32[n,6,28,28]
//
// In this order: operands and their symbols; the statements that read nothing absent; indices, ranges and shapes, which
// follow from each other until none is left open; then the terms, with subscripts and types.
#include "ir/checked.h"
#include "ir/formula_terms.h"
#include "ir/subscripts.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace cnnc {

namespace {

constexpr size_t most_dimensions = 16;

bool is_name(std::string_view text)
{
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string suggest(std::string_view word, const std::vector<std::string>& names)
{
  std::string meant = nearest(word, names);
  return meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant);
}

std::string show(const Dim& d)
{
  return !d.batch ? std::to_string(d.size) : d.size == 1 ? "N" : fmt::format("{}*N", d.size);
}

// What is known of a tensor's shape on the way.
struct Extents {
  bool rank_known = false;
  bool complete = false;
  bool given = false; // by its declaration
  std::vector<std::optional<Dim>> dims;
};

// A statement on the way.
struct Draft {
  const StatementSyntax* syntax = nullptr;
  int target = -1, tap = -1;
  bool expanded = false; // it is known what `...` stands for
  bool resolved = false; // every index has its extent
  struct Name {
    std::string name;
    size_t at = 0;
    std::optional<Dim> extent;
    bool ranged = false; // by `where`
    Affine means;        // in the finished statement: an index, or 0
  };
  std::vector<Name> names;
  std::vector<int> rest; // for each dimension under `...`: which name, or -1 for subscript 0

  int find(std::string_view name) const
  {
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i].name == name)
        return static_cast<int>(i);
    return -1;
  }
};

class FormulaBinder {
public:
  FormulaBinder(const FormulaText& text, const std::vector<BoundInput>& inputs, const std::vector<OperandSpec>& outputs,
                const Symbols& given)
      : text(text)
  {
    for (const auto& [name, value] : given)
      symbols[name] = std::holds_alternative<double>(value) ? Number(std::get<double>(value))
                                                            : Number(Affine(std::get<int64_t>(value)));
    add_inputs(inputs);
    symbols.emplace("N", Number(Affine::of(batch_index)));
    check_input_expressions(inputs);
    add_outputs(outputs);
  }

  Formula run()
  {
    syntax = parse_formula(text);
    for (const StatementSyntax& s : syntax)
      add_statement(s);
    for (const FormulaTensor& t : formula.tensors)
      if (t.role == Role::output && written.count(t.name) == 0)
        throw Error(text.where, fmt::format("nothing writes the output '{}'", t.name));
    while (!all_resolved())
      if (!resolve_more() && !resolve_from_neighbours())
        report_open_range();
    set_shapes();
    for (Draft& draft : drafts)
      finish(draft);
    check_sizes();
    return std::move(formula);
  }

private:
  const FormulaText& text;
  std::map<std::string, Number, std::less<>> symbols;
  std::vector<StatementSyntax> syntax;
  Formula formula;
  std::vector<Extents> extents; // for each of the formula's tensors
  std::vector<Draft> drafts;
  std::set<std::string, std::less<>> absent; // inputs, and locals that nothing but dropped statements write
  std::set<std::string, std::less<>> absent_inputs;
  std::set<std::string, std::less<>> written; // so far
  std::set<int> typed_taps;                   // whose type is not ours to choose
  DType element = DType::f32;

  // ---- operands ----

  void add_tensor(std::string name, Role role, TensorType type, size_t at)
  {
    if (!is_name(name))
      text.fail(at, fmt::format("'{}' is not a name", name));
    if (formula.find(name) >= 0 || absent.count(name) != 0)
      throw Error(text.where, fmt::format("two tensors have the name '{}'", name));
    formula.tensors.push_back({std::move(name), role, std::move(type)});
    extents.emplace_back();
  }

  void give_shape(Extents& e, const Shape& shape)
  {
    e.rank_known = e.complete = e.given = true;
    e.dims.assign(shape.begin(), shape.end());
  }

  void add_inputs(const std::vector<BoundInput>& inputs)
  {
    bool first_float = true;
    for (size_t k = 0; k < inputs.size(); ++k) {
      const OperandSpec& spec = inputs[k].spec;
      if (!inputs[k].type) {
        absent.insert(spec.name);
        absent_inputs.insert(spec.name);
        continue;
      }
      const TensorType& type = *inputs[k].type;
      if (spec.dtype && *spec.dtype != type.dtype)
        throw Error(text.where,
                    fmt::format("{} must be {}, but it is {}", spec.name, to_string(*spec.dtype), to_string(type)));
      if (type.shape.size() > most_dimensions ||
          (spec.any_rank ? type.shape.size() < spec.dims.size() : type.shape.size() != spec.dims.size()))
        throw Error(text.where, fmt::format("{} wants {} dimensions, but it is {}", to_string(spec), spec.dims.size(),
                                            to_string(type)));
      if (formula.tensors.empty() || (first_float && is_float(type.dtype)))
        element = type.dtype;
      first_float = first_float && !is_float(type.dtype);
      add_tensor(spec.name, Role::input, type, 0);
      formula.input_numbers.push_back(static_cast<int>(k));
      give_shape(extents.back(), type.shape);
      for (size_t d = 0; d < spec.dims.size(); ++d)
        if (is_name(spec.dims[d]))
          add_dimension(spec, d, type.shape[d]);
    }
  }

  void add_dimension(const OperandSpec& spec, size_t d, const Dim& dim)
  {
    Affine value = dim.batch ? Affine::of(batch_index, dim.size) : Affine(dim.size);
    auto [known, added] = symbols.emplace(spec.dims[d], Number(value));
    if (!added && known->second != Number(value))
      throw Error(text.where, fmt::format("{}: {} is {}, but {} elsewhere", to_string(spec), spec.dims[d], show(dim),
                                          show(known->second)));
  }

  static std::string show(const Number& n)
  {
    if (const double* value = std::get_if<double>(&n))
      return fmt::format("{}", *value);
    return to_string(std::get<Affine>(n), [](int) { return "N"; });
  }
  static std::string show(const Dim& d) { return cnnc::show(d); }

  // "x[2*K,N]": the expressions once all names are known.
  void check_input_expressions(const std::vector<BoundInput>& inputs)
  {
    for (const BoundInput& input : inputs)
      for (size_t d = 0; input.type && d < input.spec.dims.size(); ++d)
        if (!is_name(input.spec.dims[d])) {
          Dim wanted = spec_extent(input.spec.dims[d]);
          if (wanted != input.type->shape[d])
            throw Error(text.where, fmt::format("{}: {} is {}, found {}", to_string(input.spec), input.spec.dims[d],
                                                show(wanted), show(input.type->shape[d])));
        }
  }

  Dim spec_extent(const std::string& expression)
  {
    FormulaText own{expression, text.where, false};
    Syntax e = parse_expression(own);
    return to_dim(e, evaluate_affine(e, own, symbol_lookup(own)), own);
  }

  static Dim to_dim(const Syntax& e, const Affine& a, const FormulaText& in)
  {
    Dim d{a.constant, false};
    if (!a.is_constant()) {
      if (a.constant != 0 || a.terms.size() > 1)
        in.fail(e.at, fmt::format("an extent is a number, or a number times the batch; this is {}", show(Number(a))));
      d = {a.terms[0].factor, true};
    }
    if (d.size < 0)
      in.fail(e.at, fmt::format("an extent is negative: {}", show(d)));
    if (d.size > element_limit)
      in.fail(e.at, fmt::format("an extent is too large: {}", show(d)));
    return d;
  }

  Lookup symbol_lookup(const FormulaText& in)
  {
    return [this, &in](const Syntax& e) -> Number {
      auto found = symbols.find(e.name);
      if (found != symbols.end())
        return found->second;
      in.fail(e.at, fmt::format("unknown symbol '{}'{}", e.name, suggest(e.name, symbol_names())));
    };
  }

  std::vector<std::string> symbol_names() const
  {
    std::vector<std::string> names;
    for (const auto& [name, value] : symbols)
      names.push_back(name);
    return names;
  }

  void add_outputs(const std::vector<OperandSpec>& outputs)
  {
    for (const OperandSpec& spec : outputs) {
      add_tensor(spec.name, Role::output, {spec.dtype.value_or(element), {}}, 0);
      if (spec.dtype)
        typed_taps.insert(static_cast<int>(formula.tensors.size()) - 1);
      if (spec.any_rank)
        continue;
      Shape shape;
      for (const std::string& dim : spec.dims)
        shape.push_back(spec_extent(dim));
      give_shape(extents.back(), shape);
    }
  }

  // ---- statements ----

  void add_statement(const StatementSyntax& s)
  {
    if (s.declares)
      return declare(s);
    bool dropped = false;
    for_each(s.value, [&](const Syntax& e) {
      if (e.kind == SyntaxKind::read)
        dropped = check_read(s, e) || dropped;
    });
    if (dropped) {
      if (formula.find(s.target.name) < 0)
        absent.insert(std::string(s.target.name));
      return;
    }
    Draft draft;
    draft.syntax = &s;
    draft.target = writable(s.target.name, s.target.at);
    if (s.tap) {
      if (s.update != Update::max && s.update != Update::min)
        text.fail(s.tap->at, "only max= and min= have a tap");
      if (s.tap->text == s.target.name || written.count(s.tap->text) != 0)
        text.fail(s.tap->at, fmt::format("'{}' is written twice", s.tap->text));
      draft.tap = writable(s.tap->text, s.tap->at);
      written.insert(std::string(s.tap->text));
    }
    written.insert(std::string(s.target.name));
    std::set<std::string_view> ranged;
    for (const RangeSyntax& r : s.ranges)
      if (r.name == "N")
        text.fail(r.at, "N is the batch and cannot be an index");
      else if (!ranged.insert(r.name).second)
        text.fail(r.at, fmt::format("'{}' has two ranges", r.name));
    drafts.push_back(std::move(draft));
  }

  // True where it is of something absent.
  bool check_read(const StatementSyntax& s, const Syntax& e)
  {
    if (absent.count(e.name) != 0)
      return true;
    int t = formula.find(e.name);
    if (t < 0) {
      std::vector<std::string> names;
      for (const FormulaTensor& tensor : formula.tensors)
        names.push_back(tensor.name);
      text.fail(e.at, fmt::format("unknown tensor '{}'{}", e.name, suggest(e.name, names)));
    }
    if (e.name == s.target.name || (s.tap && e.name == s.tap->text))
      text.fail(e.at, fmt::format("'{}' reads itself; give the result another name", e.name));
    if (formula.tensors[static_cast<size_t>(t)].role != Role::input && written.count(e.name) == 0)
      text.fail(e.at, fmt::format("'{}' is read before it is written", e.name));
    return false;
  }

  void declare(const StatementSyntax& s)
  {
    if (written.count(s.target.name) != 0 || s.target.ellipsis)
      text.fail(s.at, fmt::format("the declaration of '{}' must stand before its first use, with all extents",
                                  s.target.name));
    Shape shape;
    for (const Syntax& e : s.target.args)
      shape.push_back(to_dim(e, evaluate_affine(e, text, symbol_lookup(text)), text));
    add_tensor(std::string(s.target.name), Role::local, {*s.declares, {}}, s.at);
    typed_taps.insert(static_cast<int>(formula.tensors.size()) - 1);
    give_shape(extents.back(), shape);
  }

  int writable(std::string_view name, size_t at)
  {
    int t = formula.find(name);
    if (t < 0) {
      if (absent_inputs.count(name) != 0)
        text.fail(at, fmt::format("'{}' is an input and cannot be written", name));
      absent.erase(std::string(name));
      add_tensor(std::string(name), Role::local, {element, {}}, at);
      return static_cast<int>(formula.tensors.size()) - 1;
    }
    if (formula.tensors[static_cast<size_t>(t)].role == Role::input)
      text.fail(at, fmt::format("'{}' is an input and cannot be written", name));
    return t;
  }

  // ---- indices, ranges, shapes ----

  bool all_resolved() const
  {
    return std::all_of(drafts.begin(), drafts.end(), [](const Draft& d) { return d.resolved; });
  }

  bool resolve_more()
  {
    bool progress = false;
    for (Draft& draft : drafts) {
      if (!draft.expanded)
        progress = expand(draft) || progress;
      if (draft.expanded && !draft.resolved)
        progress = take_extents(draft) || progress;
    }
    for (size_t t = 0; t < extents.size(); ++t)
      if (!extents[t].complete && all_writers_resolved(static_cast<int>(t))) {
        merge_left_sides(static_cast<int>(t));
        extents[t].complete = true;
        progress = true;
      }
    return progress;
  }

  bool all_writers_resolved(int t) const
  {
    return std::all_of(drafts.begin(), drafts.end(),
                       [&](const Draft& d) { return (d.target != t && d.tap != t) || d.resolved; });
  }

  // The indices in text order, once it is known what `...` stands for. False: not yet.
  bool expand(Draft& draft, bool partial = false)
  {
    const StatementSyntax& s = *draft.syntax;
    bool has_ellipsis = s.target.ellipsis;
    for_each(s.value, [&](const Syntax& e) { has_ellipsis = has_ellipsis || e.ellipsis; });
    Shape rest;
    if (has_ellipsis && !find_rest(draft, rest, partial))
      return false;

    std::vector<std::string> generated = has_ellipsis ? rest_names(draft, rest) : std::vector<std::string>();
    bool placed = false;
    auto place_rest = [&](size_t at) {
      if (placed)
        return;
      placed = true;
      for (size_t d = 0; d < rest.size(); ++d) {
        draft.rest.push_back(rest[d] == Dim{1, false} ? -1 : static_cast<int>(draft.names.size()));
        if (draft.rest.back() >= 0)
          draft.names.push_back({generated[d], at, rest[d], true, {}});
      }
    };
    auto add_names = [&](const Syntax& whole) {
      for_each(whole, [&](const Syntax& e) {
        if (e.kind == SyntaxKind::name && is_index(s, e.name) && draft.find(e.name) < 0)
          draft.names.push_back({std::string(e.name), e.at, {}, false, {}});
      });
    };
    add_names(s.target);
    if (s.target.ellipsis)
      place_rest(s.target.at);
    add_value_names(s.value, add_names, place_rest);
    for (const RangeSyntax& r : s.ranges) {
      int i = draft.find(r.name);
      if (i < 0) {
        i = static_cast<int>(draft.names.size());
        draft.names.push_back({std::string(r.name), r.at, {}, false, {}});
      }
      Draft::Name& name = draft.names[static_cast<size_t>(i)];
      Affine extent = evaluate_affine(r.extent, text, symbol_lookup(text));
      if (extent.is_constant() && extent.constant < 0)
        text.fail(r.extent.at, fmt::format("the range of '{}' is negative: {}", r.name, extent.constant));
      name.extent = to_dim(r.extent, extent, text);
      name.ranged = true;
    }
    if (draft.names.size() > formula_indices)
      text.fail(s.at, fmt::format("more than {} indices in one statement", formula_indices));
    order_as_ranges(draft);
    draft.expanded = true;
    return true;
  }

  void add_value_names(const Syntax& e, const auto& add_names, const auto& place_rest)
  {
    // Like for_each, but `...` comes behind the subscripts before it.
    if (e.kind == SyntaxKind::call && e.name == "cast" && e.args.size() == 2)
      return add_value_names(e.args[1], add_names, place_rest);
    if (e.kind == SyntaxKind::name)
      return add_names(e);
    for (const Syntax& arg : e.args)
      add_value_names(arg, add_names, place_rest);
    if (e.ellipsis)
      place_rest(e.at);
  }

  // A range makes any name an index; otherwise it is one if it is no symbol.
  bool is_index(const StatementSyntax& s, std::string_view name) const
  {
    for (const RangeSyntax& r : s.ranges)
      if (r.name == name)
        return true;
    return symbols.find(name) == symbols.end();
  }

  // A `where` that names every index also says their order.
  void order_as_ranges(Draft& draft)
  {
    const std::vector<RangeSyntax>& ranges = draft.syntax->ranges;
    if (ranges.size() != draft.names.size())
      return;
    std::vector<Draft::Name> ordered;
    for (const RangeSyntax& r : ranges) {
      int i = draft.find(r.name);
      for (int& rest : draft.rest)
        if (rest == i)
          return; // a generated name, which the text cannot mean
      ordered.push_back(draft.names[static_cast<size_t>(i)]);
    }
    draft.names = std::move(ordered);
  }

  // The dimensions under `...`. False: a shape is not known yet.
  bool find_rest(const Draft& draft, Shape& rest, bool partial)
  {
    const StatementSyntax& s = *draft.syntax;
    bool from_target = s.target.ellipsis && extents[static_cast<size_t>(draft.target)].complete;
    if (from_target)
      rest = shape_behind(draft.target, s.target);
    bool known = true, any = from_target;
    for_each(s.value, [&](const Syntax& e) {
      if (!e.ellipsis || !known)
        return;
      int t = formula.find(e.name);
      known = extents[static_cast<size_t>(t)].complete;
      if (!known)
        return;
      broadcast(rest, shape_behind(t, e), !from_target, e);
      any = true;
    });
    if (known && !any) {
      // Nothing on the right has it: only other statements can tell.
      const Extents& target = extents[static_cast<size_t>(draft.target)];
      if (!partial || !target.rank_known ||
          !std::all_of(target.dims.begin(), target.dims.end(), [](auto& d) { return d.has_value(); }))
        return false;
      rest = shape_behind(draft.target, s.target);
    }
    return known;
  }

  Shape shape_behind(int t, const Syntax& e)
  {
    const std::vector<std::optional<Dim>>& dims = extents[static_cast<size_t>(t)].dims;
    if (e.args.size() > dims.size())
      text.fail(e.at, fmt::format("'{}' has {} dimensions, found {} subscripts", e.name, dims.size(), e.args.size()));
    Shape shape;
    for (size_t d = e.args.size(); d < dims.size(); ++d)
      shape.push_back(*dims[d]);
    return shape;
  }

  // NumPy's rule, from the right: equal, or one of them 1.
  void broadcast(Shape& rest, const Shape& shape, bool may_grow, const Syntax& e)
  {
    const Dim one{1, false};
    if (may_grow && shape.size() > rest.size())
      rest.insert(rest.begin(), shape.size() - rest.size(), one);
    for (size_t d = 0; d < shape.size(); ++d) {
      const Dim& dim = shape[shape.size() - 1 - d];
      Dim* here = d < rest.size() ? &rest[rest.size() - 1 - d] : nullptr;
      if (dim == one || (here && *here == dim))
        continue;
      if (!here || *here != one || !may_grow)
        // Whose shapes they are is the user's matter, an op's own text is not.
        text.fail(e.at, fmt::format("{} of '{}' does not broadcast to {}", to_string(shape), e.name, to_string(rest)),
                  false);
      *here = dim;
    }
  }

  std::vector<std::string> rest_names(const Draft& draft, const Shape& rest)
  {
    const StatementSyntax& s = *draft.syntax;
    size_t before = s.target.ellipsis ? s.target.args.size() : 0;
    size_t rank = before + rest.size();
    auto is_free = [&](const std::string& name) {
      bool used = symbols.find(name) != symbols.end();
      auto look = [&](const Syntax& e) { used = used || (e.kind == SyntaxKind::name && e.name == name); };
      for_each(s.target, look);
      for_each(s.value, look);
      for (const RangeSyntax& r : s.ranges)
        used = used || r.name == name;
      return !used;
    };
    std::vector<std::string> names;
    bool pictures = rank <= 4 && (before > 0 || (!rest.empty() && rest[0].batch));
    for (size_t d = before; d < rank && pictures; ++d) {
      names.emplace_back(1, "nchw"[d]);
      pictures = is_free(names.back());
    }
    if (pictures)
      return names;
    names.clear();
    for (size_t d = 0, number = 0; d < rest.size(); ++number)
      if (std::string name = fmt::format("d{}", number); is_free(name)) {
        names.push_back(name);
        ++d;
      }
    return names;
  }

  // Every name that subscripts a dimension alone takes that dimension's extent: inputs first.
  bool take_extents(Draft& draft)
  {
    for (bool inputs : {true, false})
      for_each(draft.syntax->value, [&](const Syntax& e) {
        if (e.kind != SyntaxKind::read)
          return;
        auto t = static_cast<size_t>(formula.find(e.name));
        if ((formula.tensors[t].role == Role::input) != inputs || !extents[t].complete)
          return;
        for (size_t d = 0; d < std::min(e.args.size(), extents[t].dims.size()); ++d)
          take_extent(draft, e, d, *extents[t].dims[d], inputs);
      });
    return close(draft);
  }

  void take_extent(Draft& draft, const Syntax& read, size_t d, const Dim& extent, bool is_input)
  {
    const Syntax& subscript = read.args[d];
    int i = subscript.kind == SyntaxKind::name ? draft.find(subscript.name) : -1;
    if (i < 0)
      return;
    Draft::Name& name = draft.names[static_cast<size_t>(i)];
    if (!name.extent)
      name.extent = extent;
    else if (is_input && !name.ranged && *name.extent != extent)
      text.fail(subscript.at, fmt::format("'{}' runs over {} elsewhere, but '{}' has {} there; write `where {} < ...`",
                                          name.name, show(*name.extent), read.name, show(extent), name.name));
  }

  // True where this was the last open range.
  static bool close(Draft& draft)
  {
    draft.resolved =
        std::all_of(draft.names.begin(), draft.names.end(), [](const auto& n) { return n.extent.has_value(); });
    return draft.resolved;
  }

  // Names that occur on the left only: from the target's declared shape, else from what other statements write there.
  bool resolve_from_neighbours()
  {
    for (size_t t = 0; t < extents.size(); ++t)
      if (!extents[t].complete)
        merge_left_sides(static_cast<int>(t));
    bool progress = false;
    for (Draft& draft : drafts) {
      if (!draft.expanded)
        progress = expand(draft, true) || progress;
      if (!draft.expanded || draft.resolved)
        continue;
      const Syntax& target = draft.syntax->target;
      const Extents& known = extents[static_cast<size_t>(draft.target)];
      for (size_t d = 0; d < std::min(target.args.size(), known.dims.size()); ++d) {
        const Syntax& subscript = target.args[d];
        int i = subscript.kind == SyntaxKind::name ? draft.find(subscript.name) : -1;
        if (i < 0 || draft.names[static_cast<size_t>(i)].extent || !known.dims[d])
          continue;
        draft.names[static_cast<size_t>(i)].extent = known.dims[d];
        progress = true;
      }
      close(draft);
    }
    return progress;
  }

  [[noreturn]] void report_open_range()
  {
    for (const Draft& draft : drafts) {
      if (draft.resolved)
        continue;
      if (!draft.expanded)
        text.fail(draft.syntax->at, "it is not known what `...` stands for here");
      for (const Draft::Name& name : draft.names) {
        if (name.extent)
          continue;
        std::vector<std::string> names = symbol_names();
        for (const Draft::Name& other : draft.names)
          if (&other != &name)
            names.push_back(other.name);
        std::string meant = suggest(name.name, names);
        if (!meant.empty())
          text.fail(name.at, fmt::format("unknown index or symbol '{}'{}", name.name, meant));
        text.fail(name.at, fmt::format("the range of '{0}' is not known; write `where {0} < ...`", name.name));
      }
    }
    throw InternalError("bind_formula: nothing is open, and yet not all is known");
  }

  // ---- shapes from left sides ----

  // Each dimension reaches as far as the statements write, those that are known so far.
  void merge_left_sides(int t)
  {
    Extents& e = extents[static_cast<size_t>(t)];
    for (const Draft& draft : drafts) {
      if ((draft.target != t && draft.tap != t) || !draft.expanded)
        continue;
      const Syntax& target = draft.syntax->target;
      size_t rank = target.args.size() + (target.ellipsis ? draft.rest.size() : 0);
      if (!e.rank_known) {
        e.dims.resize(rank);
        e.rank_known = true;
      }
      if (e.dims.size() != rank)
        text.fail(target.at, fmt::format("'{}' has {} dimensions here and {} elsewhere",
                                         formula.tensors[static_cast<size_t>(t)].name, rank, e.dims.size()));
      for (size_t d = 0; d < rank; ++d)
        if (std::optional<Dim> reached = extent_of(draft, d))
          merge(e.dims[d], *reached, target);
    }
  }

  void merge(std::optional<Dim>& into, const Dim& dim, const Syntax& target)
  {
    if (into && into->batch != dim.batch && into->size != 0 && dim.size != 0)
      text.fail(target.at,
                fmt::format("a dimension of '{}' is {} here and {} elsewhere", target.name, show(dim), show(*into)));
    if (!into || dim.size > into->size)
      into = dim;
  }

  // One more than the largest value of the left side's subscript d.
  std::optional<Dim> extent_of(const Draft& draft, size_t d)
  {
    const Syntax& target = draft.syntax->target;
    if (d >= target.args.size()) {
      int name = draft.rest[d - target.args.size()];
      return name < 0 ? Dim{1, false} : *draft.names[static_cast<size_t>(name)].extent;
    }
    Affine a = evaluate_affine(target.args[d], text, draft_lookup(draft));
    int64_t reach = 0, batches = 0; // constant part, and factor of the batch
    bool overflow = __builtin_add_overflow(a.constant, 1, &reach);
    for (const Affine::Term& term : a.terms) {
      if (term.index == batch_index)
        text.fail(target.args[d].at, "the batch cannot stand in a subscript; use an index that runs over it");
      const std::optional<Dim>& extent = draft.names[static_cast<size_t>(term.index)].extent;
      if (!extent)
        return {};
      if (extent->size == 0)
        return Dim{0, false};
      if (term.factor < 0)
        continue;
      int64_t span = 0;
      if (extent->batch) {
        overflow = overflow || __builtin_mul_overflow(extent->size, term.factor, &span) ||
                   __builtin_add_overflow(batches, span, &batches) ||
                   __builtin_sub_overflow(reach, term.factor, &reach);
      } else {
        overflow = overflow || __builtin_mul_overflow(extent->size - 1, term.factor, &span) ||
                   __builtin_add_overflow(reach, span, &reach);
      }
    }
    if (overflow || reach > element_limit || batches > element_limit)
      text.fail(target.args[d].at, "the numbers here are too large");
    if (batches > 0 && reach != 0)
      text.fail(target.args[d].at, "this subscript does not fill a multiple of the batch");
    return batches > 0 ? Dim{batches, true} : Dim{std::max<int64_t>(reach, 0), false};
  }

  // Names as numbers of draft.names.
  Lookup draft_lookup(const Draft& draft)
  {
    return [this, &draft](const Syntax& e) -> Number {
      int i = draft.find(e.name);
      return i >= 0 ? Number(Affine::of(i)) : symbol_lookup(text)(e);
    };
  }

  void set_shapes()
  {
    for (size_t t = 0; t < extents.size(); ++t) {
      if (!extents[t].complete)
        merge_left_sides(static_cast<int>(t));
      Shape shape;
      for (const std::optional<Dim>& d : extents[t].dims)
        shape.push_back(d.value());
      formula.tensors[t].type.shape = std::move(shape);
    }
  }

  // ---- finished statements ----

  void finish(Draft& draft)
  {
    const StatementSyntax& s = *draft.syntax;
    Statement statement;
    statement.target = draft.target;
    statement.tap = draft.tap;
    statement.update = s.update;
    for (Draft::Name& name : draft.names) {
      name.means = 0;
      if (*name.extent == Dim{1, false})
        continue;
      name.means = Affine::of(static_cast<int>(statement.indices.size()));
      statement.indices.push_back({name.name, *name.extent});
    }
    Lookup lookup = [&](const Syntax& e) -> Number {
      int i = draft.find(e.name);
      return i >= 0 ? Number(draft.names[static_cast<size_t>(i)].means) : symbol_lookup(text)(e);
    };
    auto element_of = [&](const Syntax& e) { return subscripts(draft, statement, e, lookup); };
    statement.at = element_of(s.target);
    TermScope scope{text, is_float(element) ? element : DType::f32, lookup,
                    [&](const Syntax& e) {
                      int t = formula.find(e.name);
                      const TensorType& type = formula.tensors[static_cast<size_t>(t)].type;
                      std::vector<Affine> at = element_of(e);
                      const bool checked = e.checked && !is_inside(at, type.shape, statement.indices);
                      return read(t, type.dtype, std::move(at), checked);
                    },
                    [&](const Syntax& e) {
                      const Shape& shape = formula.tensors[static_cast<size_t>(formula.find(e.name))].type.shape;
                      std::vector<Affine> at = element_of(e), pairs;
                      for (size_t d = 0; d < at.size(); ++d)
                        if (!is_inside(at[d], shape[d], statement.indices)) {
                          pairs.push_back(at[d]);
                          pairs.push_back(shape[d].batch ? Affine::of(batch_index, shape[d].size)
                                                         : Affine(shape[d].size));
                        }
                      return inside(std::move(pairs));
                    }};
    DType type = formula.tensors[static_cast<size_t>(draft.target)].type.dtype;
    if (type == DType::boolean && s.update != Update::assign)
      text.fail(s.at, fmt::format("'{}' is bool: it can be set by '=' only", s.target.name));
    statement.value = bind_term(s.value, type, scope);
    if (s.update == Update::assign)
      check_once(draft, statement);
    if (draft.tap >= 0)
      set_tap_type(draft, statement);
    formula.statements.push_back(std::move(statement));
  }

  std::vector<Affine> subscripts(const Draft& draft, const Statement& statement, const Syntax& e, const Lookup& lookup)
  {
    const Shape& shape = formula.tensors[static_cast<size_t>(formula.find(e.name))].type.shape;
    if (e.ellipsis ? e.args.size() > shape.size() : e.args.size() != shape.size())
      text.fail(e.at, fmt::format("'{}' has {} dimension{}, found {} subscript{}", e.name, shape.size(),
                                  shape.size() == 1 ? "" : "s", e.args.size(), e.args.size() == 1 ? "" : "s"));
    std::vector<Affine> at;
    for (const Syntax& subscript : e.args) {
      at.push_back(evaluate_affine(subscript, text, lookup));
      auto reach = checked_range(at.back(), [&](int i) {
        // At least 2, so that the factor counts.
        return i < 0 ? int64_t{2} : std::max<int64_t>(2, statement.indices[static_cast<size_t>(i)].extent.size);
      });
      if (!reach || reach->lo < -element_limit || reach->hi > element_limit)
        text.fail(subscript.at, "this subscript reaches too far");
      if (at.back().uses(batch_index))
        text.fail(subscript.at, "the batch cannot stand in a subscript; use an index that runs over it");
    }
    for (size_t d = at.size(); d < shape.size(); ++d) { // aligned at the right
      int name = shape[d] == Dim{1, false} ? -1 : draft.rest[draft.rest.size() - (shape.size() - d)];
      at.push_back(name < 0 ? Affine(0) : draft.names[static_cast<size_t>(name)].means);
    }
    return at;
  }

  void check_once(const Draft& draft, const Statement& statement)
  {
    if (is_injective(statement))
      return;
    const StatementSyntax& s = *draft.syntax;
    std::vector<std::string> left;
    for (size_t i = 0; i < statement.indices.size(); ++i)
      if (statement.is_output_index(static_cast<int>(i)))
        left.push_back(statement.indices[i].name);
    for (size_t i = 0; i < statement.indices.size(); ++i)
      if (!statement.is_output_index(static_cast<int>(i)))
        text.fail(draft.names[static_cast<size_t>(draft.find(statement.indices[i].name))].at,
                  fmt::format("index '{}' does not occur on the left of '='{}; a sum is written '+='",
                              statement.indices[i].name, suggest(statement.indices[i].name, left)));
    text.fail(s.target.at, fmt::format("'=' may set one element of '{}' twice", s.target.name));
  }

  void set_tap_type(const Draft& draft, const Statement& statement)
  {
    int64_t terms = 1;
    bool batch = false;
    for (size_t i = 0; i < statement.indices.size(); ++i)
      if (!statement.is_output_index(static_cast<int>(i))) {
        const Dim& extent = statement.indices[i].extent;
        terms = std::min(terms, element_limit) * std::max<int64_t>(extent.size, 1);
        batch = batch || extent.batch;
      }
    if (!tap_position(statement) || terms > element_limit)
      text.fail(draft.syntax->tap->at, "too many terms to number the one that wins");
    const bool large = batch || terms > INT32_MAX;
    DType& type = formula.tensors[static_cast<size_t>(draft.tap)].type.dtype;
    if (typed_taps.count(draft.tap) == 0)
      type = large ? DType::i64 : terms <= 256 ? DType::u8 : DType::i32;
    else if (is_float(type) || type == DType::boolean)
      text.fail(draft.syntax->tap->at, fmt::format("a tap is an integer, not {}", to_string(type)));
    else if (large && type != DType::i64)
      text.fail(draft.syntax->tap->at, "too many terms to number the one that wins, but as i64");
  }

  void check_sizes()
  {
    for (const FormulaTensor& t : formula.tensors)
      try {
        elements(t.type.shape);
      } catch (const Error& error) {
        throw Error(text.where, fmt::format("'{}': {}", t.name, error.what()));
      }
  }
};

} // namespace

Formula bind_formula(std::string_view text, const std::vector<BoundInput>& inputs,
                     const std::vector<OperandSpec>& outputs, const Symbols& symbols, const Location& where)
{
  FormulaText source{text, where};
  return FormulaBinder(source, inputs, outputs, symbols).run();
}

} // namespace cnnc
