// What the planner knows of a stage before it has a schedule.
//
//   acc = 0; for c, i, j { acc += x[n,c,h + i - 1,w + j - 1] * w[o,c,i,j] }; y[n,o,h,w] = acc
//   =>  box n, o, h, w;  reduced c, i, j;  accesses x and w (in the reduction), y (a store);  i slides over h, j over w
#pragma once

#include "passes/stage_loops.h"

namespace cnnc {

constexpr int64_t most_written_out = 16; // steps of a reduction

struct Dimension {
  int index;
  std::string name;
  std::optional<int64_t> extent; // none: depends on the batch
  bool fixed;                    // bounds that a tile would break: stays at 1
  // All factors have it (a position of winograd's tiles, a group): two of its values share nothing. Of the box's.
  bool is_apart = false;
};

struct Access {
  const Buffer* buffer;
  std::vector<Affine> at;
  bool free; // its layout follows the schedule
  bool is_store;
  bool in_reduction;
  bool checked;
  std::vector<size_t> along = {}; // the box's dimensions that its subscripts use, those that lie nearest first
  bool is_window = false;         // a subscript adds an index of the box and a reduced one
  bool is_stream = false;         // no two outputs of an image share an element: a dense layer's weights
  bool uses(int index) const;
};

// How an access lies in the lanes. split: in two rows, of a block and of the next one.
enum class Lane : uint8_t { broadcast, contiguous, split, strided, gathered };

// A reduced index that slides over the box's: x[h*factor + constant + sign*i], beyond the tensor's ends.
struct Slider {
  size_t box, reduced;
  int64_t factor, constant, sign, extent;
};

struct StageFacts {
  const Nest& nest;
  const Target& target;
  bool has_shared_loops = false; // other stages stand in the loops around this one
  std::vector<Dimension> box = {}, reduced = {};
  std::vector<Access> accesses = {};
  std::vector<Slider> sliders = {};
  int reductions = 0, values = 0;     // values: between a point's reads and its stores
  bool runs_vector_by_vector = false; // see stage_loops.h
  bool has_tap = false, is_sum = true;
  double operations = 0, outer_operations = 0; // of a step of the reduction; of a point beside it
  int dot = -1;                                // a reduced index, `dot_group` steps of which may be one instruction
  int64_t dot_group = 1;
  int64_t lane_bytes = 4, full_width = 1; // full_width: lanes of a whole vector

  // `group`: steps of `dot` that are one instruction.
  Lane lane_of(const Access&, int lanes, int64_t width, int64_t group) const;
  // How many steps of the index, from an aligned one on, stay within one block of every operand; 0: any number.
  // A vector that is split anyway may begin anywhere.
  int64_t block_of(int index, int lanes) const;
  // Of the reduced index's steps, how many a tile of this size takes on the average: see trim.h.
  double steps_inside(const Slider&, int64_t size) const;
};

// `free_layout`: as for plan_stage.
StageFacts find_facts(const Nest&, const StageLoops&, const Target&, const std::vector<bool>& free_layout);

int64_t bytes_of_buffer(const Buffer&);

} // namespace cnnc
