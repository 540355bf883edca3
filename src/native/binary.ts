/** @file The head of native libraries and executables: which machine they are for, and whether the file is whole. */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** What the head of a native library or executable says. */
export interface Binary {
  /** `darwin`, `win32`, or `linux` for what all other systems have (ELF). */
  readonly system: "linux" | "darwin" | "win32";
  /** As `process.arch` names it, or undefined for a processor that is not listed here. */
  readonly arch: string | undefined;
  /** How long the file must be for all its parts to be there. */
  readonly byteLength: number;
  /** The loader that an executable of Linux asks for. */
  readonly interpreter?: string;
}

/**
 * Why a library cannot be opened on this machine, or undefined where nothing speaks against it. Asked before the system opens it, because the
 * system trusts what it opens: touching the missing end of a truncated library ends the process with SIGBUS.
 */
export function problemOfLibrary(path: string): string | undefined {
  try {
    const { system, arch, byteLength } = readBinary(path);
    const here = process.platform === "darwin" || process.platform === "win32" ? process.platform : "linux";
    if (system !== here || (arch !== undefined && arch !== process.arch)) return `it is for ${system}-${arch ?? "unknown"}, and this machine is ${process.platform}-${process.arch}`;
    const size = sizeOf(path);
    return size < byteLength ? `it is truncated: ${size} of at least ${byteLength} bytes` : undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function sizeOf(path: string): number {
  const file = openSync(path, "r");
  try {
    return fstatSync(file).size;
  } finally {
    closeSync(file);
  }
}

/** Reads the head of an ELF, Mach-O or PE file. Throws an Error with a reason for any other, or where the head itself is cut off. */
export function readBinary(path: string): Binary {
  const file = openSync(path, "r");
  /** `length` bytes from `offset`. */
  const read = (offset: number, length: number): DataView => {
    const bytes = new Uint8Array(length);
    if (offset > Number.MAX_SAFE_INTEGER || readSync(file, bytes, 0, length, offset) < length) throw new Error("it is truncated: its head is not whole");
    return new DataView(bytes.buffer);
  };
  try {
    const magic = read(0, 4).getUint32(0);
    if (magic === 0x7f454c46) return readElf(read);
    if (magic === 0xcffaedfe) return readMachO(read);
    if (magic >>> 16 === 0x4d5a) return readPe(read);
    throw new Error("it is not a native library");
  } finally {
    closeSync(file);
  }
}

type Read = (offset: number, length: number) => DataView;

const elfMachines: Readonly<Record<number, string>> = { 3: "ia32", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x64", 183: "arm64", 243: "riscv64", 258: "loong64" };

/** System V ABI, object files: the ELF header, the segments to be mapped, and the section headers, which stand at the end. */
function readElf(read: Read): Binary {
  const head = read(0, 64);
  const little = head.getUint8(5) === 1;
  const u16 = (offset: number): number => head.getUint16(offset, little);
  const u64 = (offset: number): number => Number(head.getBigUint64(offset, little));
  const arch = elfMachines[u16(18)];
  // Of 32 bits, where the fields lie elsewhere: only the machine is told.
  if (head.getUint8(4) !== 2) return { system: "linux", arch, byteLength: 64 };
  let byteLength = u64(40) + u16(58) * u16(60);
  let interpreter: string | undefined;
  for (let i = 0; i < u16(56); i++) {
    const segment = read(u64(32) + i * u16(54), 56);
    const offset = Number(segment.getBigUint64(8, little)), size = Number(segment.getBigUint64(32, little));
    byteLength = Math.max(byteLength, offset + size);
    if (segment.getUint32(0, little) === 3 && size < 4096) interpreter = new TextDecoder().decode(read(offset, size)).replace(/\0.*$/s, "");
  }
  return { system: "linux", arch, byteLength, ...(interpreter !== undefined && { interpreter }) };
}

/** Apple's mach-o/loader.h: the 64-bit header and the load commands, of which LC_SEGMENT_64 says which bytes of the file it maps. */
function readMachO(read: Read): Binary {
  const head = read(0, 32);
  const commands = read(32, Math.min(head.getUint32(20, true), 1 << 20));
  let byteLength = 32 + commands.byteLength;
  for (let i = 0, at = 0; i < head.getUint32(16, true) && at + 8 <= commands.byteLength; i++) {
    if (commands.getUint32(at, true) === 0x19 && at + 56 <= commands.byteLength) {
      byteLength = Math.max(byteLength, Number(commands.getBigUint64(at + 40, true) + commands.getBigUint64(at + 48, true)));
    }
    at += Math.max(8, commands.getUint32(at + 4, true));
  }
  const arch = { 0x01000007: "x64", 0x0100000c: "arm64" }[head.getUint32(4, true)];
  return { system: "darwin", arch, byteLength };
}

/** Microsoft's PE format: the COFF header behind the DOS stub, and the section table behind the optional header. */
function readPe(read: Read): Binary {
  const at = read(60, 4).getUint32(0, true);
  const head = read(at, 24);
  if (head.getUint32(0) !== 0x50450000) throw new Error("it is not a native library");
  const sections = at + 24 + head.getUint16(20, true), count = head.getUint16(6, true);
  let byteLength = sections + count * 40;
  for (let i = 0; i < count; i++) {
    const section = read(sections + i * 40, 40);
    byteLength = Math.max(byteLength, section.getUint32(20, true) + section.getUint32(16, true));
  }
  const arch = { 0x8664: "x64", 0xaa64: "arm64" }[head.getUint16(4, true)];
  return { system: "win32", arch, byteLength };
}
