#include "cpu_features.h"

#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace hornbook {

#if defined(__x86_64__)

namespace {

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

bool bit(uint32_t word, int index) { return (word >> index) & 1; }

// The register states that the operating system saves (XCR0).
uint64_t enabledStates() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

}  // namespace

std::vector<std::string> supportedIsas() {
  std::vector<std::string> isas;
  const Registers one = cpuid(1), seven = cpuid(7), sevenOne = cpuid(7, 1);
  if (bit(one.c, 27)) {  // OSXSAVE
    const uint64_t states = enabledStates();
    const bool ymm = (states & 0x6) == 0x6, zmm = (states & 0xe6) == 0xe6, tiles = (states & 0x60000) == 0x60000;
    const bool avx2 = ymm && bit(seven.b, 5) && bit(one.c, 12) && bit(one.c, 29);  // AVX2, FMA, F16C
    const bool avx512 = avx2 && zmm && bit(seven.b, 16) && bit(seven.b, 17) && bit(seven.b, 30) && bit(seven.b, 31);  // F, DQ, BW, VL
    const bool bf16 = avx512 && bit(sevenOne.a, 5) && bit(seven.c, 11);  // BF16, VNNI
    const bool amx = bf16 && tiles && bit(seven.d, 22) && bit(seven.d, 24) && bit(seven.d, 25);
    if (amx && requestTilePermission()) isas.push_back("amx");
    if (bf16) isas.push_back("avx512bf16");
    if (avx512) isas.push_back("avx512");
    if (avx2) isas.push_back("avx2");
  }
  isas.push_back("portable");
  return isas;
}

#elif defined(__aarch64__)

namespace {

// What version 8.0 of the architecture does not promise: products of four bytes (DotProd), of unsigned by signed bytes (I8MM), of bf16 pairs.
struct ArmFeatures {
  bool dotProduct = false, mixedBytes = false, bf16 = false;
};

#if defined(__linux__)
ArmFeatures armFeatures() {
  const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
  return {(first >> 20 & 1) != 0, (second >> 13 & 1) != 0, (second >> 14 & 1) != 0};  // HWCAP_ASIMDDP, HWCAP2_I8MM, HWCAP2_BF16
}
#elif defined(__APPLE__)
ArmFeatures armFeatures() {
  const auto has = [](const char* name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
  };
  return {has("hw.optional.arm.FEAT_DotProd"), has("hw.optional.arm.FEAT_I8MM"), has("hw.optional.arm.FEAT_BF16")};
}
#else
ArmFeatures armFeatures() { return {}; }
#endif

}  // namespace

std::vector<std::string> supportedIsas() {
  std::vector<std::string> isas;
  const ArmFeatures features = armFeatures();
  if (features.dotProduct && features.mixedBytes && features.bf16) isas.push_back("neonbf16");
  if (features.dotProduct) isas.push_back("neondot");
  isas.push_back("neon");
  isas.push_back("portable");
  return isas;
}

#else

std::vector<std::string> supportedIsas() { return {"portable"}; }

#endif

bool requestTilePermission() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long requestPermission = 0x1023, tileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
#else
  return true;
#endif
}

}  // namespace hornbook
