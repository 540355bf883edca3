#include "file_source.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace hornbook::napi {

#if defined(_WIN32)

// A descriptor belongs to the C runtime that opened it, which here is not Node's.
Executor::Source fileSource(int, int64_t, int64_t, std::vector<uint32_t>, int64_t) {
  throw std::runtime_error("files are read by JavaScript on Windows");
}

#else

namespace {

class Descriptor {
 public:
  explicit Descriptor(int of) : descriptor_(dup(of)) {
    if (descriptor_ < 0) throw std::runtime_error(std::string("a file cannot be held open: ") + std::strerror(errno));
  }
  ~Descriptor() { close(descriptor_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  std::string read(uint8_t* target, int64_t position, int64_t length) const {
    while (length > 0) {
      const ssize_t count = pread(descriptor_, target, static_cast<size_t>(std::min<int64_t>(length, 1 << 30)), position);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return std::string("a file cannot be read: ") + std::strerror(errno);
      if (count == 0) return "the file ends at byte " + std::to_string(position) + ": it was cut short while being read";
      target += count;
      position += count;
      length -= count;
    }
    return {};
  }

 private:
  int descriptor_;
};

}  // namespace

Executor::Source fileSource(int descriptor, int64_t position, int64_t length, std::vector<uint32_t> order, int64_t rowBytes) {
  auto file = std::make_shared<Descriptor>(descriptor);
  if (order.empty()) {
    return {[file, position](uint8_t* target, int64_t begin, int64_t count) { return file->read(target, position + begin, count); }, int64_t{1} << 20};
  }
  const int64_t rows = static_cast<int64_t>(order.size());
  if (rowBytes <= 0 || rows * rowBytes != length) throw std::runtime_error("the rows do not make up the bytes");
  for (const uint32_t row : order) {
    if (row >= order.size()) throw std::runtime_error("an order names a row that is not there");
  }
  // Whole: rows that are far apart here may be neighbours there.
  const auto reordered = [file, position, rowBytes, order = std::move(order)](uint8_t* target, int64_t, int64_t count) {
    std::vector<uint8_t> bytes(static_cast<size_t>(count));
    const std::string error = file->read(bytes.data(), position, count);
    if (!error.empty()) return error;
    for (const uint32_t row : order) {
      std::memcpy(target, bytes.data() + row * rowBytes, static_cast<size_t>(rowBytes));
      target += rowBytes;
    }
    return error;
  };
  return {reordered, length};
}

#endif

}  // namespace hornbook::napi
