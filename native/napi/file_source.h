// Bytes of a file straight into a device's memory, read on its threads: no copy in JavaScript's memory, no waiting on its thread. A file is
// read and not mapped: weights are copied and rearranged anyway, and a mapped file that another program cuts short kills the process.
#pragma once

#include <cstdint>
#include <vector>

#include "../executor/executor.h"

namespace hornbook::napi {

// `length` bytes from `position` on, as rows of `rowBytes` of which row i is the file's row `order[i]`; in the file's order where that is empty.
// The file stays open until the source is gone. Throws where the descriptor cannot be held.
Executor::Source fileSource(int descriptor, int64_t position, int64_t length, std::vector<uint32_t> order, int64_t rowBytes);

}  // namespace hornbook::napi
