// Which 8-bit integer stands for which number, for each channel of some values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace cnnc {

// q = round(x / scale) + zero, in 0 ... 255.
struct Code {
  double scale = 1, zero = 0;
  friend bool operator==(const Code&, const Code&) = default;
};

// Any zero of them is not 0: the number 0 has another integer.
bool has_zeros(const std::vector<Code>&);

// For numbers of this range, in which zero is.
Code code_of(double low, double high);

// Channels of one code hold numbers of one range: the union of those that they were found to have, and zero.
class ChannelCodes {
public:
  void add(int value, int64_t channels);
  bool contains(int value) const { return values.contains(value); }
  // Channel i of `a`, and channel j of `b`; of a value with one channel, it is the only one.
  void join(int a, int64_t i, int b, int64_t j);
  void join_all(int value);
  void widen(int value, int64_t channel, double low, double high);
  // Once all is joined: one for each channel, or a single one where they are the same.
  std::vector<Code> of(int value);

private:
  struct Channel {
    size_t parent; // itself, where it speaks for all of its code
    double low = 0, high = 0;
  };
  struct Channels {
    size_t begin;
    int64_t count;
  };
  size_t first(size_t channel);
  size_t number(int value, int64_t channel) const;

  std::map<int, Channels> values;
  std::vector<Channel> channels;
};

} // namespace cnnc
