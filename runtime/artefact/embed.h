// What cnnc carries for the networks that it compiles: bytes that embed.S includes at build time.
#pragma once

#include <string_view>

extern "C" {
extern const char cnnc_artefact_begin[], cnnc_artefact_end[], cnnc_header_begin[], cnnc_header_end[];
}

namespace cnnc {

// A relocatable object: everything in runtime/artefact. It wants one symbol, cnn_network_data.
inline std::string_view artefact_object()
{
  return {cnnc_artefact_begin, static_cast<size_t>(cnnc_artefact_end - cnnc_artefact_begin)};
}

// The text of cnn.h.
inline std::string_view artefact_header()
{
  return {cnnc_header_begin, static_cast<size_t>(cnnc_header_end - cnnc_header_begin)};
}

} // namespace cnnc
