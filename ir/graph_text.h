// What the printers and parsers of graphs and of whole programs share.
#pragma once

#include "ir/program.h"

namespace cnnc {

// `nest_name` gives the name behind `kernel k0 -> @`.
std::string print_graph(const Graph& graph, const std::function<std::string(int)>& nest_name);

// One graph from `text`, a part of source's text that starts at the offset `begin`. `nest_number` is asked for the
// names behind `kernel k0 -> @`; -1: there is none.
Graph read_graph(const std::shared_ptr<const Source>& source, size_t begin, size_t end,
                 const std::function<int(std::string_view)>& nest_number);

std::string_view to_string(Region region);
// Names of letters, digits, _ and . stand as they are, others in quotes.
std::string print_name(std::string_view name);
char sigil(ValueKind kind); // % for what a call makes, @ for what outlives it

// Data of more elements is elided.
constexpr int64_t inline_limit = 64;

} // namespace cnnc
