// Opens the kernels that were built for one instruction set. They are libraries of their own, so that no function compiled for a newer
// processor can be picked by the linker for an older one.
#pragma once

#include <string>

#include "../generated/contract.h"

namespace hornbook {

// Null with a reason in `error` when the file is missing, or was built from another contract. A library stays open for good.
const KernelTable* openKernelLibrary(const std::string& path, std::string& error);

}  // namespace hornbook
