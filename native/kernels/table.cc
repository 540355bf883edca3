// The one symbol that an instruction set's library exports.
#include "../generated/contract.h"

#if defined(_WIN32)
#define INKLING_EXPORT extern "C" __declspec(dllexport)
#else
#define INKLING_EXPORT extern "C" __attribute__((visibility("default")))
#endif

INKLING_EXPORT const inkling::KernelTable* inkling_kernel_table() {
  static const inkling::KernelTable table = inkling::kernelTable();
  return &table;
}

INKLING_EXPORT const char* inkling_kernel_fingerprint() { return inkling::contractFingerprint; }
