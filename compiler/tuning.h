// Schedules that were measured, as `cnnc tune` leaves them beside the network's file: net.yaml, net.tune. The text is
// for people too; docs/tuning.md explains it.
//
//   cnnc-tune 1
//   network lenet5
//   machine znver4 1a2b3c4d
//   # conv2, pool2, relu2: 0.0021 ms, planned 0.0025 ms
//   kernel conv2d_max_pool2d_relu_c9e54780 tile o:16, h:5, w:5 reduce c:6, i, j lanes o:16 | tile ...
#pragma once

#include "compiler/network.h"
#include "passes/target.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace cnnc {

struct Tuning {
  std::shared_ptr<const Source> source;
  std::string network;
  std::string cpu, features; // of the machine on which it was measured: the target's name, features_key
  std::map<std::string, TunedSchedule, std::less<>> kernels; // by nest
};

// Throws Error at line and column: a line that is none of the above, another version, a kernel that is there twice.
Tuning parse_tuning(const std::shared_ptr<const Source>&);
// The file beside the network's, where there is one. Throws Error: it cannot be read, or is no tuning file.
std::optional<Tuning> tuning_beside(const std::string& network_path);
Tuning read_tuning(const std::string& path);
std::string tuning_path(const std::string& network_path); // net.yaml => net.tune

// Eight hexadecimal digits for the instructions and the caches that code is made for.
std::string features_key(const Target&);

// The targets for whose machine the tuning was measured get its schedules; what cannot be used is said once.
void use_tuning(const Tuning&, std::vector<Target>&, std::vector<Warning>&);
// Kernels of the tuning that the program does not have.
void warn_of_unknown(const Tuning&, const Program&, std::vector<Warning>&);

} // namespace cnnc
