#include "kernel_library.h"

#include <cstring>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace hornbook {

namespace {

#if defined(_WIN32)
void* openLibrary(const char* path, std::string& error) {
  // Paths come from JavaScript in UTF-8, which the functions for narrow strings take for the code page.
  std::wstring wide(static_cast<size_t>(MultiByteToWideChar(CP_UTF8, 0, path, -1, nullptr, 0)), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, path, -1, wide.data(), static_cast<int>(wide.size()));
  void* handle = reinterpret_cast<void*>(LoadLibraryW(wide.c_str()));
  if (handle == nullptr) error = "cannot open " + std::string(path) + ", error " + std::to_string(GetLastError());
  return handle;
}
void* symbol(void* handle, const char* name) { return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle), name)); }
void closeLibrary(void* handle) { FreeLibrary(static_cast<HMODULE>(handle)); }
#else
void* openLibrary(const char* path, std::string& error) {
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) error = dlerror();
  return handle;
}
void* symbol(void* handle, const char* name) { return dlsym(handle, name); }
void closeLibrary(void* handle) { dlclose(handle); }
#endif

}  // namespace

const KernelTable* openKernelLibrary(const std::string& path, std::string& error) {
  void* handle = openLibrary(path.c_str(), error);
  if (handle == nullptr) return nullptr;
  const auto fingerprint = reinterpret_cast<const char* (*)()>(symbol(handle, "hornbook_kernel_fingerprint"));
  const auto table = reinterpret_cast<const KernelTable* (*)()>(symbol(handle, "hornbook_kernel_table"));
  if (fingerprint == nullptr || table == nullptr || std::strcmp(fingerprint(), contractFingerprint) != 0) {
    closeLibrary(handle);
    error = path + " was built from another version of the kernel contract";
    return nullptr;
  }
  return table();
}

}  // namespace hornbook
