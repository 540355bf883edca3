#!/usr/bin/env node
/** @file The executable: runs the command line and hands on its exit code. */

import "./heap.js";

// `hornbook ... | head` closes the pipe early, which is no error.
for (const stream of [process.stdout, process.stderr]) stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
// Only now: modules are parsed before any of them runs, and that alone makes the heap grow.
const { main } = await import("./main.js");
process.exitCode = await main(process.argv.slice(2));
