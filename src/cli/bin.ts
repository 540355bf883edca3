#!/usr/bin/env node
/** @file The executable: runs the command line and hands on its exit code. */

import { main } from "./main.js";

// `inkling ... | head` closes the pipe early, which is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
process.exitCode = await main(process.argv.slice(2));
