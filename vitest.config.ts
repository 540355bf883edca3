import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { hornbook: fileURLToPath(new URL("./src/index.ts", import.meta.url)) } },
  test: {
    setupFiles: ["test/check-aliasing.ts"],
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // The native device owns a thread pool of its own, so each test file gets a process, and as many run at once as there are cores.
    pool: "forks",
    testTimeout: 60_000,
  },
});
