#include "kernel_library.h"

#include <cstring>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace inkling {

namespace {

#if defined(_WIN32)
void* openLibrary(const char* path, std::string& error) {
  void* handle = reinterpret_cast<void*>(LoadLibraryA(path));
  if (handle == nullptr) error = "cannot open " + std::string(path) + ", error " + std::to_string(GetLastError());
  return handle;
}
void* symbol(void* handle, const char* name) { return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle), name)); }
#else
void* openLibrary(const char* path, std::string& error) {
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) error = dlerror();
  return handle;
}
void* symbol(void* handle, const char* name) { return dlsym(handle, name); }
#endif

}  // namespace

const KernelTable* openKernelLibrary(const std::string& path, std::string& error) {
  void* handle = openLibrary(path.c_str(), error);
  if (handle == nullptr) return nullptr;
  const auto fingerprint = reinterpret_cast<const char* (*)()>(symbol(handle, "inkling_kernel_fingerprint"));
  const auto table = reinterpret_cast<const KernelTable* (*)()>(symbol(handle, "inkling_kernel_table"));
  if (fingerprint == nullptr || table == nullptr || std::strcmp(fingerprint(), contractFingerprint) != 0) {
    error = path + " was built from another version of the kernel contract";
    return nullptr;
  }
  return table();
}

}  // namespace inkling
