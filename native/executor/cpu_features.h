// Which instruction sets this processor and operating system can run.
#pragma once

#include <string>
#include <vector>

namespace hornbook {

// Names as in scripts/build-native.mjs, best first; the last is always "portable".
std::vector<std::string> supportedIsas();

// Linux hands out AMX's tile registers only on request. True when they may be used (or the machine has none to ask for).
bool requestTilePermission();

}  // namespace hornbook
