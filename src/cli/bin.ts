#!/usr/bin/env node
/** @file The executable: runs the command line and hands on its exit code. */

import { setFlagsFromString } from "node:v8";
import { main } from "./main.js";

// V8 lets its young generation grow to some 50 MB when it sees much garbage; here nearly all of it dies at once, in little room as well.
// So the resident size stays flat while a model trains, and pauses stay short.
setFlagsFromString("--semi-space-growth-factor=1");

// `inkling ... | head` closes the pipe early, which is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
process.exitCode = await main(process.argv.slice(2));
