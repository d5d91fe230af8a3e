#include "passes/channel_codes.h"

#include <algorithm>
#include <cmath>

namespace cnnc {

Code code_of(double low, double high)
{
  Code code;
  code.scale = high > low ? static_cast<float>((high - low) / 255) : 1;
  code.zero = std::min(std::max(0.0, std::nearbyint(-low / code.scale)), 255.0); // and no -0
  return code;
}

bool has_zeros(const std::vector<Code>& codes)
{
  return std::any_of(codes.begin(), codes.end(), [](const Code& code) { return code.zero != 0; });
}

void ChannelCodes::add(int value, int64_t count)
{
  if (!values.try_emplace(value, Channels{channels.size(), count}).second)
    return;
  for (int64_t i = 0; i < count; ++i)
    channels.push_back({channels.size()});
}

size_t ChannelCodes::number(int value, int64_t channel) const
{
  const Channels& all = values.at(value);
  return all.begin + static_cast<size_t>(std::min(channel, all.count - 1));
}

size_t ChannelCodes::first(size_t channel)
{
  while (channels[channel].parent != channel)
    channel = channels[channel].parent = channels[channels[channel].parent].parent;
  return channel;
}

void ChannelCodes::join(int a, int64_t i, int b, int64_t j)
{
  const size_t from = first(number(a, i)), to = first(number(b, j));
  Channel &joined = channels[from], &whole = channels[to];
  joined.parent = to;
  whole.low = std::min(whole.low, joined.low);
  whole.high = std::max(whole.high, joined.high);
}

void ChannelCodes::join_all(int value)
{
  for (int64_t i = 1; i < values.at(value).count; ++i)
    join(value, i, value, 0);
}

void ChannelCodes::widen(int value, int64_t channel, double low, double high)
{
  Channel& all = channels[first(number(value, channel))];
  all.low = std::min(all.low, low);
  all.high = std::max(all.high, high);
}

std::vector<Code> ChannelCodes::of(int value)
{
  const Channels& all = values.at(value);
  std::vector<Code> codes;
  for (int64_t i = 0; i < all.count; ++i) {
    const Channel& channel = channels[first(all.begin + static_cast<size_t>(i))];
    codes.push_back(code_of(channel.low, channel.high));
  }
  if (std::all_of(codes.begin(), codes.end(), [&](const Code& code) { return code == codes[0]; }))
    codes.resize(1);
  return codes;
}

} // namespace cnnc
