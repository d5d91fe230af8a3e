#include "runtime/jpeg.h"

#include "runtime/files.h"

#include <csetjmp>
#include <cstdio>
#include <fmt/format.h>

#include <jpeglib.h>

#include <jerror.h>

namespace cnnc {

namespace {

// A progressive file may hold any number of scans over all of the picture: minutes of work in a few kilobytes.
constexpr int scan_limit = 200;

class Decoder {
public:
  Decoder()
  {
    info_.err = jpeg_std_error(&errors_);
    info_.client_data = this;
    errors_.error_exit = [](j_common_ptr info) { self(info).leave(); };
    errors_.emit_message = [](j_common_ptr info, int level) {
      // A warning is damage, but for bytes between markers, which some cameras write.
      if (level < 0 && info->err->msg_code != JWRN_EXTRANEOUS_DATA && info->err->msg_code != JWRN_ADOBE_XFORM)
        self(info).leave();
    };
    errors_.output_message = [](j_common_ptr) {};
    progress_.progress_monitor = [](j_common_ptr info) {
      if (self(info).info_.input_scan_number > scan_limit) {
        std::snprintf(self(info).message_, JMSG_LENGTH_MAX, "more than %d scans", scan_limit);
        std::longjmp(self(info).back_, 1);
      }
    };
  }
  ~Decoder()
  {
    if (created_)
      jpeg_destroy_decompress(&info_);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Each of these is one stretch between a setjmp and its return, with plain locals only. False: message() says why.
  bool read_header(const unsigned char* bytes, unsigned long size)
  {
    if (setjmp(back_) != 0)
      return false;
    jpeg_create_decompress(&info_);
    created_ = true;
    info_.progress = &progress_;
    jpeg_mem_src(&info_, bytes, size);
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  bool read_pixels(unsigned char* to, int64_t row_bytes)
  {
    if (setjmp(back_) != 0)
      return false;
    info_.out_color_space = info_.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    info_.dct_method = JDCT_ISLOW; // the same pixels whatever the machine
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = to + info_.output_scanline * row_bytes;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  const char* message() const { return message_; }

private:
  static Decoder& self(j_common_ptr info) { return *static_cast<Decoder*>(info->client_data); }

  [[noreturn]] void leave()
  {
    errors_.format_message(reinterpret_cast<j_common_ptr>(&info_), message_);
    std::longjmp(back_, 1);
  }

  jpeg_decompress_struct info_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf back_ = {};
  char message_[JMSG_LENGTH_MAX] = {};
  bool created_ = false;
};

} // namespace

Pixels decode_jpeg(std::string_view bytes, const std::string& name)
{
  Decoder decoder;
  if (!decoder.read_header(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()))
    throw bad_file(name, fmt::format("is not a JPEG that can be read: {}", decoder.message()));
  if (decoder.info().num_components != 1 && decoder.info().num_components != 3)
    throw bad_file(name,
                   fmt::format("is a JPEG with {} components; gray and RGB are read", decoder.info().num_components));
  Pixels pixels;
  pixels.width = decoder.info().image_width;
  pixels.height = decoder.info().image_height;
  pixels.channels = decoder.info().num_components;
  check_size(pixels, name);
  pixels.bytes.resize(static_cast<size_t>(pixels.height * pixels.width * pixels.channels));
  if (!decoder.read_pixels(pixels.bytes.data(), pixels.width * pixels.channels))
    throw bad_file(name, fmt::format("is a damaged JPEG: {}", decoder.message()));
  return pixels;
}

} // namespace cnnc
