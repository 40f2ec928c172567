import { availableParallelism } from "node:os";
import path from "node:path";
import { defineConfig } from "vitest/config";

const notOurs = ["**/node_modules/**", "test/boundaries/fixtures/**"];

// One project for each kind of test. `scripts/test.ts` runs the fast ones together, then integration alone.
export default defineConfig({
  test: {
    watch: false,
    // A wait for an event, not for a time: it ends when the event is there, however busy the machine.
    expect: { poll: { timeout: 20_000 } },
    projects: [
      {
        test: {
          name: "unit",
          include: ["**/*.test.ts"],
          exclude: [...notOurs, "test/integration/**", "test/boundaries/**", "test/contract/**"],
          // vitest leaves one core out, which is half of a small machine.
          maxWorkers: availableParallelism(),
          // Some start a process; on a machine that is busy with other work that takes its time.
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      { test: { name: "contract", include: ["test/contract/**/*.test.ts"], exclude: notOurs, testTimeout: 20_000 } },
      { test: { name: "boundaries", include: ["test/boundaries/*.test.ts"], testTimeout: 60_000 } },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          globalSetup: ["test/kit/global-setup.ts"],
          // Hundreds of our programs are started: compiled code is kept between them, as `tiermesh` itself does it.
          env: { NODE_COMPILE_CACHE: path.join(import.meta.dirname, ".cache", "compiled") },
          exclude: notOurs,
          // Each file starts real processes; more than two files at once starve each other on a small machine.
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
