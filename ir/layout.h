// How a tensor lies in memory. Layouts belong to buffers, never to ops: correctness does not depend on them.
//
//   f32[n,64,56,56] as {0, 1/16, 2+1+1, 3+1+1, 1%16}
//     image, channel block, row (one row of zeros before and after), column (likewise), channel within the block
//
// Element [e0, e1, ...] lies at the sum over axes of stride * coordinate, where an axis of dimension d has the coordinate
// (e_d + before) / divide, or (e_d + before) / divide % modulo: a block may be cut again, {0/16, ..., 0/2%8, ..., 0%2}
// keeps pairs beside each other. Strides follow from the axes, innermost last. Pad lanes (channels
// past the extent in the last block) and borders always hold zero.
#pragma once

#include "ir/type.h"

#include <optional>

namespace cnnc {

struct Axis {
  int dim = 0;
  int64_t divide = 1;
  int64_t modulo = 0; // 0: the outer part; else how many coordinates there are
  int64_t before = 0; // border, in elements; only on axes with divide 1 and modulo 0
  int64_t after = 0;
  int64_t extra = 0; // elements behind the axis that nobody uses, so that strides do not collide in a cache

  friend bool operator==(const Axis&, const Axis&) = default;
};

struct Layout {
  std::vector<Axis> axes; // outermost first; a dimension with the batch is always the outermost

  friend bool operator==(const Layout&, const Layout&) = default;
};

Layout planar(size_t rank); // row-major, as the standard formats have it
bool is_planar(const Layout&);

// Along each axis: how many coordinates, and elements from one to the next. `extent` of the batch axis counts one image.
std::vector<int64_t> axis_extents(const Layout&, const Shape&);
std::vector<int64_t> axis_strides(const Layout&, const Shape&);
// Elements of one image (or of all, where no dimension is the batch), borders and pads included.
int64_t stored_elements(const Layout&, const Shape&);
// Where an element lies.
int64_t offset_of(const Layout&, const std::vector<int64_t>& strides, const int64_t* at);
// A tensor that is elements at, at + 1, ... of another one's dimension 1, in that one's memory:
//   f32[n,64,56,56] as {0, 1/16|602112, 2, 3, 1%16}  in  f32[n,256,56,56] as {0, 1/16, 2, 3, 1%16}
// How it lies there; nothing where an image of it is not one run of elements: dimension 1 is not the outermost of an
// image, or is cut within a block that is not its last.
std::optional<Layout> layout_of_part(const Layout& whole, const Shape& whole_shape, const Shape& part_shape,
                                     int64_t at);
// Elements of one image before its first one.
int64_t elements_before(const Layout& whole, const Shape& whole_shape, int64_t at);
bool has_border(const Layout&);
bool has_pad(const Layout&, const Shape&); // lanes past the extent
// Where a dimension stands before the channels' blocks: an odd number of cache lines lies between two of its elements,
// unused ones among them.
void set_apart(Layout&, const TensorType&);
int64_t border_before(const Layout&, int dim);
int64_t border_after(const Layout&, int dim);

std::string to_string(const Layout&);       // "{0, 1/16, 2+1+1, 3+1+1, 1%16}", extra as "3+1+1|4"
Layout parse_layout(std::string_view text); // throws std::invalid_argument with the reason
void verify(const Layout&, const Shape&);   // throws std::invalid_argument: every element has a place of its own

} // namespace cnnc
