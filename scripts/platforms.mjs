/**
 * The platforms whose native half is a package of its own, `@hornbook/NAME`: what zig compiles for, and what npm chooses by.
 *
 * glibc 2.28 and macOS 11 are what Node 20 itself asks for at least, so whoever has a Node has these. C++'s library is linked in, from zig.
 */
export const platforms = {
  "linux-x64-gnu": { target: "x86_64-linux-gnu.2.28", os: "linux", cpu: "x64", libc: "glibc", words: "Linux on x64 with glibc 2.28 or later" },
  "linux-arm64-gnu": { target: "aarch64-linux-gnu.2.28", os: "linux", cpu: "arm64", libc: "glibc", words: "Linux on ARM64 with glibc 2.28 or later" },
  "linux-x64-musl": { target: "x86_64-linux-musl", os: "linux", cpu: "x64", libc: "musl", words: "Linux on x64 with musl (Alpine)" },
  "linux-arm64-musl": { target: "aarch64-linux-musl", os: "linux", cpu: "arm64", libc: "musl", words: "Linux on ARM64 with musl (Alpine)" },
  "darwin-x64": { target: "x86_64-macos.11.0", os: "darwin", cpu: "x64", words: "macOS 11 or later on Intel" },
  "darwin-arm64": { target: "aarch64-macos.11.0", os: "darwin", cpu: "arm64", words: "macOS 11 or later on Apple silicon" },
  "win32-x64": { target: "x86_64-windows-gnu", os: "win32", cpu: "x64", words: "Windows on x64" },
};

/** The platform of this machine, or undefined where it has no package. */
export function hostPlatform() {
  const { os, arch, libc } = { os: process.platform, arch: process.arch, libc: process.report.getReport().header.glibcVersionRuntime ? "glibc" : "musl" };
  return Object.keys(platforms).find((name) => {
    const platform = platforms[name];
    return platform.os === os && platform.cpu === arch && (platform.libc ?? libc) === libc;
  });
}
