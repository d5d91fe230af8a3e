// A convolution of 3 x 3 taps and stride 1 becomes one with a fourth of the multiplications, one of 5 x 5 with a third.
//
//   %y = conv2d %x, @w, @b                 %y.tiles = winograd_input %x
//                                    =>    %y.weight = winograd_weight @w
//                                          %y.products = formula %y.tiles, %y.weight { m[...,a,b] += v[...,a,b]*u[...,a,b] }
//                                          %y = winograd_output %y.products, @b
//
// It is a statement of the form y[n,O,h,w] += x[n,C,h ± i + p,w ± j + q] * w[.., .., ±i, ±j] with i, j < 3 (or 5), by
// whatever op, whose weights are parameters; O and C are anything affine (groups). A tile is 4 x 4 elements of y (or
// 2 x 2): 36 products where 144 (or 100) were, with the same six points, so that both are as exact. The transformed weights
// depend on parameters alone, and are four times as large.
//
// Chosen by cycles: multiplications saved against additions in the transforms, tiles that stand out over the picture's
// end, the larger weights' way from memory, and the tiles' own way through the caches. Where the user limits the memory
// for weights in tiles, those that save most for a byte. A small map has few tiles, and its weights take longest on their
// way: tiles of 2 x 2 have less than half of them. Tiles of 6 x 6 have a fifth of the multiplications and round coarser:
// the user asks for them.
//
// Needs:  ops as the network has them.
// Leaves: a remark for each convolution that could be one, and was or was not. Training functions are left alone: there
//         the weights change with each step.
#include "ir/subscripts.h"
#include "passes/formula_op.h"
#include "passes/pass.h"

#include <fmt/format.h>

#include <algorithm>

namespace cnnc {

namespace {

constexpr int64_t window_taps[] = {3, 5};
constexpr int64_t smallest_tile = 2;
constexpr int64_t lane_block = 16; // channels that choose_layouts puts side by side

// One spatial direction of the window.
struct Slide {
  int index = -1, tap = -1; // of the statement's indices
  int64_t before = 0;       // rows of x that stand before the first tap's
  bool flip = false;        // the last tap meets x first
};

struct Match {
  int64_t taps = 0;           // of the window
  int64_t wide = 0, tile = 0; // rows and columns of a tile's products, and of y that a tile makes
  Formula formula;
  Statement sum;
  int x = -1, weight = -1; // tensors of the formula
  std::vector<Affine> x_at, weight_at;
  Slide rows, columns;
  int bias = -1; // tensor, or none
};

int64_t sign_of(const Affine& at, int index)
{
  const int64_t factor = at.factor(index);
  return factor == 1 || factor == -1 ? factor : 0;
}

// x[... h ± i + p ...] * w[... ±i (+ 2) ...]
std::optional<Slide> slide_of(const Statement& s, const Affine& y, const Affine& x, const Affine& w, int64_t taps)
{
  Slide slide;
  slide.index = y.bare();
  if (slide.index < 0 || x.terms.size() != 2 || x.factor(slide.index) != 1 || w.terms.size() != 1)
    return std::nullopt;
  slide.tap = w.terms[0].index;
  const int64_t of_x = sign_of(x, slide.tap), of_w = sign_of(w, slide.tap);
  if (slide.tap < 0 || of_x == 0 || of_w == 0 || s.is_output_index(slide.tap) ||
      !(s.indices[static_cast<size_t>(slide.tap)].extent == Dim{taps, false}) ||
      w.constant != (of_w < 0 ? taps - 1 : 0))
    return std::nullopt;
  slide.before = -x.constant + (of_x < 0 ? taps - 1 : 0);
  slide.flip = of_x != of_w;
  return slide;
}

// bias[o] alone, at every element of y.
int bias_of(const Statement& first, const Statement& sum)
{
  const Expr& e = *first.value;
  if (first.update != Update::assign || first.target != sum.target || e.fn != Fn::read || e.at.size() != 1 ||
      first.at.size() != 4 || e.checked)
    return -1;
  for (const Affine& at : first.at)
    if (at.bare() < 0)
      return -1;
  return e.at[0] == first.at[1] ? e.tensor : -1;
}

std::optional<Match> match(const Graph& graph, const Op& op, int64_t tile_of_3)
{
  Match m;
  m.wide = tile_of_3 + 2;
  m.formula = formula_of(graph, op);
  const std::vector<Statement>& statements = m.formula.statements;
  if (op.outputs.size() != 1 || statements.empty() || statements.size() > 2)
    return std::nullopt;
  m.sum = statements.back();
  const Expr& e = *m.sum.value;
  if (m.sum.update != Update::sum || m.sum.at.size() != 4 || e.fn != Fn::mul || e.type != DType::f32)
    return std::nullopt;
  auto kind = [&](const Expr& read) {
    return graph.values[static_cast<size_t>(operand_of(op, m.formula, read.tensor))].kind;
  };
  for (const ExprPtr& arg : e.args) {
    if (arg->fn != Fn::read || arg->at.size() != 4 || arg->checked ||
        m.formula.tensors[static_cast<size_t>(arg->tensor)].role != Role::input)
      return std::nullopt;
    const bool is_weight = kind(*arg) == ValueKind::parameter || kind(*arg) == ValueKind::constant;
    (is_weight ? m.weight : m.x) = arg->tensor;
    (is_weight ? m.weight_at : m.x_at) = arg->at;
  }
  if (m.x < 0 || m.weight < 0)
    return std::nullopt;
  std::optional<Slide> rows, columns;
  for (const int64_t taps : window_taps)
    if ((!rows || !columns) && m.wide > taps) {
      m.taps = taps;
      m.tile = m.wide - taps + 1;
      rows = slide_of(m.sum, m.sum.at[2], m.x_at[2], m.weight_at[2], taps);
      columns = slide_of(m.sum, m.sum.at[3], m.x_at[3], m.weight_at[3], taps);
    }
  if (!rows || !columns || rows->flip != columns->flip)
    return std::nullopt;
  m.rows = *rows;
  m.columns = *columns;
  // The directions occur nowhere else.
  for (size_t d = 0; d < 2; ++d)
    for (const Affine* at : {&m.sum.at[d], &m.x_at[d], &m.weight_at[d]})
      for (int index : {m.rows.index, m.rows.tap, m.columns.index, m.columns.tap})
        if (at->uses(index))
          return std::nullopt;
  const Shape& y = m.formula.tensors[static_cast<size_t>(m.sum.target)].type.shape;
  const Shape& w = m.formula.tensors[static_cast<size_t>(m.weight)].type.shape;
  if (y[2].batch || y[3].batch || !(w[2] == Dim{m.taps, false}) || !(w[3] == Dim{m.taps, false}) ||
      !(m.sum.indices[static_cast<size_t>(m.rows.index)].extent == y[2]) ||
      !(m.sum.indices[static_cast<size_t>(m.columns.index)].extent == y[3]))
    return std::nullopt;
  if (statements.size() == 2) {
    m.bias = bias_of(statements[0], m.sum);
    if (m.bias < 0)
      return std::nullopt;
  }
  return m;
}

// Cycles for one image of a machine that multiplies two vectors a cycle.
struct Price {
  double direct = 0, winograd = 0;
  double winograd_of_eight = 0; // an image of eight, which share the weights' way
};

Price price(const Match& m, const Target& target)
{
  const Shape& y = m.formula.tensors[static_cast<size_t>(m.sum.target)].type.shape;
  const Shape& x = m.formula.tensors[static_cast<size_t>(m.x)].type.shape;
  const Shape& w = m.formula.tensors[static_cast<size_t>(m.weight)].type.shape;
  const auto lanes = static_cast<double>(target.lanes(4));
  constexpr double l1_rate = 64;
  double products = 1; // channel pairs
  for (size_t i = 0; i < m.sum.indices.size(); ++i) {
    const Index& index = m.sum.indices[i];
    const int number = static_cast<int>(i);
    if (!index.extent.batch && number != m.rows.index && number != m.rows.tap && number != m.columns.index &&
        number != m.columns.tap)
      products *= static_cast<double>(index.extent.size);
  }
  const double points = static_cast<double>(y[2].size * y[3].size);
  const double tiles = static_cast<double>(ceil_div(y[2].size, m.tile) * ceil_div(y[3].size, m.tile));
  const auto weights = static_cast<double>(w[0].size * w[1].size);
  auto stream = [&](double bytes) {
    return bytes / (bytes > static_cast<double>(target.l2_bytes) / 2 ? Target::memory_rate : l1_rate);
  };
  const auto window = static_cast<double>(m.taps * m.taps), positions = static_cast<double>(m.wide * m.wide);
  Price p;
  p.direct = std::max(products * window * points / lanes / 2, stream(weights * window * 4));
  const double in = tiles * static_cast<double>(x[1].size) / lanes,
               out = tiles * static_cast<double>(y[1].size) / lanes;
  constexpr double more_kernels = 6000; // two of them to begin and to end
  // Vector operations of a tile's transforms, its loads and stores; then the same bytes again where they are multiplied.
  const double transforms = (in * 130 + out * 90) * positions / 36,
               moved = (in + out) * positions * static_cast<double>(target.vector_bytes);
  const auto of_an_image = [&](double images) {
    const double few = std::max(6 / (tiles * images), 1.0); // too few tiles to hide the loads of weights
    return std::max(products * positions * tiles / lanes / 2 * few, stream(weights * positions * 4) / images) +
           transforms + more_kernels + 2 * moved / (moved > static_cast<double>(target.l2_bytes) ? 16 : l1_rate);
  };
  p.winograd = of_an_image(1);
  p.winograd_of_eight = of_an_image(8);
  return p;
}

class Rewrite {
public:
  Rewrite(Graph& graph, const Op& op, const Match& m) : graph(graph), op(op), m(m) {}

  // The ops that stand for it, the last of which makes its result.
  std::vector<Op> run()
  {
    const Shape& y = tensor(m.sum.target).type.shape;
    const int64_t tile = m.tile, taps = m.taps;
    rows = ceil_div(y[2].size, tile);
    columns = ceil_div(y[3].size, tile);
    const std::string name = graph.values[static_cast<size_t>(op.outputs[0])].name;
    const int tiles = add("winograd_input", name + ".tiles", {operand(m.x)},
                          {{"tile", tile},
                           {"taps", taps},
                           {"rows", rows},
                           {"columns", columns},
                           {"pad_top", m.rows.before},
                           {"pad_left", m.columns.before}});
    const int weight = add("winograd_weight", graph.values[static_cast<size_t>(operand(m.weight))].name + ".winograd",
                           {operand(m.weight)}, {{"tile", tile}, {"taps", taps}, {"flip", m.rows.flip}});
    const int products = add("formula", name + ".products", {tiles, weight}, attributes_of(product(tiles, weight)));
    Op last = op;
    last.def = find_op("winograd_output");
    last.inputs = {products, m.bias < 0 ? -1 : operand(m.bias)};
    last.attributes = check_attributes(
        *last.def, {{"tile", tile}, {"taps", taps}, {"height", y[2].size}, {"width", y[3].size}}, false, op.location);
    ops.push_back(std::move(last));
    return std::move(ops);
  }

private:
  const FormulaTensor& tensor(int t) const { return m.formula.tensors[static_cast<size_t>(t)]; }
  int operand(int t) const { return operand_of(op, m.formula, t); }

  // One result, of the type that the row's formula gives it.
  int add(const std::string& def, const std::string& name, std::vector<int> inputs, Attributes attributes)
  {
    const size_t before = graph.ops.size();
    const int number = graph.add_op(def == "formula" ? op_formula : *find_op(def), name, std::move(inputs),
                                    std::move(attributes), op.location);
    Op made = graph.ops[static_cast<size_t>(number)];
    graph.ops.resize(before);
    made.name = op.name;
    ops.push_back(made);
    return made.outputs[0];
  }

  // m[n,O,h,w,a,b] += v[n,C,h,w,a,b] * u[..,..,a,b]
  Formula product(int tiles, int weight) const
  {
    Formula f;
    f.tensors = {{"v", Role::input, graph.values[static_cast<size_t>(tiles)].type},
                 {"u", Role::input, graph.values[static_cast<size_t>(weight)].type},
                 {"m", Role::output, {}}};
    f.input_numbers = {0, 1};
    Statement s;
    s.target = 2;
    s.update = Update::sum;
    std::vector<int> to(m.sum.indices.size(), -1);
    auto keep = [&](size_t i, const Index& index) {
      to[i] = static_cast<int>(s.indices.size());
      s.indices.push_back(index);
    };
    for (size_t i = 0; i < m.sum.indices.size(); ++i) {
      const int number = static_cast<int>(i);
      if (number == m.rows.index || number == m.columns.index) {
        const bool is_row = number == m.rows.index;
        const int64_t tiles_along = is_row ? rows : columns;
        if (tiles_along > 1) // an index that takes one value only is none
          keep(i, {is_row ? "h" : "w", {tiles_along, false}});
      } else if (number != m.rows.tap && number != m.columns.tap) {
        keep(i, m.sum.indices[i]);
      }
    }
    const int a = static_cast<int>(s.indices.size());
    s.indices.push_back({"a", {m.wide, false}});
    s.indices.push_back({"b", {m.wide, false}});
    auto at = [&](const std::vector<Affine>& from, bool has_tiles) {
      std::vector<Affine> result;
      for (size_t d = 0; d < 2; ++d)
        result.push_back(renumber(from[d], [&](int i) { return i < 0 ? i : to[static_cast<size_t>(i)]; }));
      if (has_tiles)
        for (int index : {m.rows.index, m.columns.index})
          result.push_back(to[static_cast<size_t>(index)] < 0 ? Affine(0) : Affine::of(to[static_cast<size_t>(index)]));
      result.push_back(Affine::of(a));
      result.push_back(Affine::of(a + 1));
      return result;
    };
    s.at = at(m.sum.at, true);
    s.value = call(Fn::mul, {read(0, DType::f32, at(m.x_at, true)), read(1, DType::f32, at(m.weight_at, false))});
    const Shape& y = tensor(m.sum.target).type.shape;
    f.tensors[2].type = {DType::f32, {y[0], y[1], {rows, false}, {columns, false}, {m.wide, false}, {m.wide, false}}};
    f.statements.push_back(std::move(s));
    return f;
  }

  Graph& graph;
  const Op& op;
  const Match& m;
  int64_t rows = 0, columns = 0;
  std::vector<Op> ops;
};

// What is known of an op that could be done in tiles.
struct Choice {
  Match match;
  Price price;
  int64_t bytes = 0;   // of the weights in tiles
  std::string why_not; // or nothing
};

std::string name_of(const Graph& graph, const Op& op)
{
  return graph.values[static_cast<size_t>(op.outputs[0])].name;
}

std::optional<Choice> choice_for(Graph& graph, const Op& op, const Target& target, int64_t tile_of_3)
{
  std::optional<Match> m = match(graph, op, tile_of_3);
  if (!m)
    return std::nullopt;
  Choice choice{*m, price(*m, target), 0, ""};
  const auto shape_of = [&](int t) { return m->formula.tensors[static_cast<size_t>(t)].type.shape; };
  const Shape weight = shape_of(m->weight);
  choice.bytes = weight[0].size * weight[1].size * m->wide * m->wide * bytes_of(DType::f32);
  const int64_t channels = shape_of(m->x)[1].size, filters = shape_of(m->sum.target)[1].size;
  // Groups' sums are none of integers: see lower_precision.
  if (graph.precision && graph.precision->type == DType::i8 && m->sum.at[1].bare() >= 0)
    choice.why_not = "8-bit integers do not hold the sums and differences of a tile";
  else if (channels % lane_block != 0 || filters % lane_block != 0)
    choice.why_not = fmt::format("{} channels and {} filters are no multiples of {}", channels, filters, lane_block);
  else if (choice.price.winograd > 0.9 * choice.price.direct)
    choice.why_not = fmt::format("about {:.0f} thousand cycles an image against {:.0f}", choice.price.winograd / 1000,
                                 choice.price.direct / 1000);
  return choice;
}

// In tiles of 4 x 4 (or as the user asks), or in smaller ones, whose products are more and whose weights are fewer: which
// is better for one image, and which for many, may be two things.
std::optional<Choice> choice_for(Graph& graph, const Op& op, const Target& target)
{
  std::optional<Choice> large = choice_for(graph, op, target, target.winograd_tile);
  std::optional<Choice> small = choice_for(graph, op, target, smallest_tile);
  const auto both = [](const Choice& choice) { return choice.price.winograd + choice.price.winograd_of_eight; };
  const bool only_small = small && small->why_not.empty() && !large->why_not.empty();
  return small && (only_small || both(*small) < both(*large)) ? small : large;
}

// Those that save most for each byte, as many as there is room for.
void keep_within(int64_t room, std::vector<std::optional<Choice>>& choices)
{
  std::vector<Choice*> order;
  for (std::optional<Choice>& choice : choices)
    if (choice && choice->why_not.empty())
      order.push_back(&*choice);
  const auto saved = [](const Choice* c) {
    return (c->price.direct - c->price.winograd) / static_cast<double>(c->bytes);
  };
  std::stable_sort(order.begin(), order.end(), [&](const Choice* a, const Choice* b) { return saved(a) > saved(b); });
  for (Choice* choice : order)
    if (choice->bytes <= room)
      room -= choice->bytes;
    else
      choice->why_not =
          fmt::format("its weights in tiles would be {} bytes, of {} that are left for such", choice->bytes, room);
}

} // namespace

void winograd(Graph& graph, const Target& target, Remarks& remarks)
{
  if (graph.training || target.winograd_tile == 0)
    return;
  std::vector<std::optional<Choice>> choices;
  for (const Op& op : graph.ops)
    choices.push_back(choice_for(graph, op, target));
  keep_within(target.winograd_bytes, choices);
  std::vector<Op> ops;
  const std::vector<Op> before = std::move(graph.ops);
  graph.ops.clear();
  for (size_t o = 0; o < before.size(); ++o) {
    const Op& op = before[o];
    if (!choices[o] || !choices[o]->why_not.empty()) {
      if (choices[o])
        remarks.add(op.location, fmt::format("{} stays direct: {}", name_of(graph, op), choices[o]->why_not));
      ops.push_back(op);
      continue;
    }
    const Choice& choice = *choices[o];
    remarks.add(op.location, fmt::format("{} in tiles of {} x {}: about {:.0f} thousand cycles an image against {:.0f}",
                                         name_of(graph, op), choice.match.tile, choice.match.tile,
                                         choice.price.winograd / 1000, choice.price.direct / 1000));
    for (Op& made : Rewrite(graph, op, choice.match).run())
      ops.push_back(std::move(made));
  }
  const bool changed = ops.size() != before.size();
  graph.ops = std::move(ops);
  if (changed)
    compact(graph);
}

} // namespace cnnc
