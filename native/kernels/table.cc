// The one symbol that an instruction set's library exports.
#include "../generated/contract.h"

#if defined(_WIN32)
#define HORNBOOK_EXPORT extern "C" __declspec(dllexport)
#else
#define HORNBOOK_EXPORT extern "C" __attribute__((visibility("default")))
#endif

HORNBOOK_EXPORT const hornbook::KernelTable* hornbook_kernel_table() {
  static const hornbook::KernelTable table = hornbook::kernelTable();
  return &table;
}

HORNBOOK_EXPORT const char* hornbook_kernel_fingerprint() { return hornbook::contractFingerprint; }
