import { spawn } from "node:child_process";
import { basename } from "node:path";
import { expect, test } from "vitest";
import { OtherCpu, runningApp } from "./activity.ts";
import { ProcessTable, parsePs, parseStat, parseTasklist, programIn, type ProcessRow } from "./process-table.ts";

const STAT =
  "4242 (tmux: server (1)) S 1 4242 4242 0 -1 4194560 1185 2010 0 0 123 77 4 2 20 0 1 0 345 12345678 900 18446744073709551615 1 1 0";

test("a line of /proc is read by the last bracket, for a program may be named as it likes", () => {
  expect(parseStat(STAT)).toEqual({
    pid: 4242,
    parent: 1,
    name: "tmux: server (1)",
    program: null,
    cpuMs: 2000,
    started: 345,
  });
  for (const broken of ["", "4242", "4242 (sh", "x (sh) S 1", "4242 (sh) S 1 2 3", ")("])
    expect(parseStat(broken)).toBeUndefined();
});

test("the program of a command line is the first word without its path", () => {
  expect(programIn("/usr/lib/steam/game.exe\0--fullscreen\0")).toBe("game.exe");
  expect([programIn("bash\0"), programIn(""), programIn("/")]).toEqual(["bash", null, null]);
});

test("lines of macOS' ps and of tasklist are read, and what is none is passed over", () => {
  const ps =
    "  501     1   0:03.45 /Applications/Final Cut Pro.app/Contents/MacOS/Final Cut Pro\n 7 1 1-02:03:04.50 /sbin/launchd\ngarbage\n";
  expect(parsePs(ps)).toEqual([
    { pid: 501, parent: 1, name: "Final Cut Pro", program: null, cpuMs: 3450 },
    { pid: 7, parent: 1, name: "launchd", program: null, cpuMs: 93_784_500 },
  ]);
  expect(parseTasklist('"game.exe","4711","Console","1","123,456 K"\r\nINFO: none\r\n')).toEqual([
    { pid: 4711, parent: 0, name: "game.exe", program: null, cpuMs: null },
  ]);
});

test.skipIf(process.platform === "win32")(
  "this machine's processes are listed with this one and its child among them",
  async () => {
    const child = spawn("sleep", ["60"]);
    try {
      const table = new ProcessTable();
      const rows = (await table.read(AbortSignal.timeout(10_000))) ?? [];
      expect(rows.find(({ pid }) => pid === child.pid)).toMatchObject({ parent: process.pid, name: "sleep" });
      expect(rows.find(({ pid }) => pid === process.pid)?.cpuMs).toBeGreaterThan(0);
      expect(runningApp(rows, ["no-such-app", "Sleep"], process.platform)).toBe("Sleep");
      // Node calls its main thread "MainThread"; by how it was started it is known all the same, at every look.
      expect(runningApp(rows, [basename(process.execPath)], process.platform)).toBe(basename(process.execPath));
      expect((await table.read(AbortSignal.timeout(10_000)))?.find(({ pid }) => pid === process.pid)?.program).toBe(
        rows.find(({ pid }) => pid === process.pid)?.program,
      );
    } finally {
      child.kill("SIGKILL");
    }
  },
);

const row = (pid: number, name: string, cpuMs: number | null = 0, parent = 1): ProcessRow => ({
  pid,
  parent,
  name,
  program: null,
  cpuMs,
});

test("an app is known by its name, whatever its case and ending, and on Linux by what is left of a long one", () => {
  const rows = [row(10, "Photoshop.exe", null), row(11, "resolve")];
  expect(runningApp(rows, ["photoshop"], "win32")).toBe("photoshop");
  expect(runningApp(rows, ["Resolve.app"], "darwin")).toBe("Resolve.app");
  expect(runningApp(rows, ["photo", "resolv"], "win32")).toBeUndefined();
  expect(runningApp([row(12, "cyberpunk2077.e")], ["Cyberpunk2077.exe"], "linux")).toBe("Cyberpunk2077.exe");
  expect(runningApp([], ["x"], "linux")).toBeUndefined();
});

/** Two looks, a second of two cores apart. */
function other(first: ProcessRow[], second: ProcessRow[], busyMs: number, jobs = 0): number | null {
  const cpu = new OtherCpu(100);
  expect(cpu.look(first, { cores: 2, busyMs: 5000, totalMs: 50_000 }, jobs)).toBeNull();
  return cpu.look(second, { cores: 2, busyMs: 5000 + busyMs, totalMs: 52_000 }, jobs);
}

test("others' share is the machine's, less this agent, its children and runtimes with theirs", () => {
  const at = (ms: number) => [
    row(100, "node", ms),
    row(101, "node", ms, 100),
    row(102, "probe", ms, 101),
    row(200, "ollama"),
    row(201, "runner", 4 * ms, 200),
    row(300, "game", 7 * ms),
  ];
  expect(other(at(0), at(100), 1400, 1)).toBeCloseTo(0.35);
  // A process that ended, or whose number begins anew, makes nothing negative.
  expect(other(at(100), at(0), 200)).toBeCloseTo(0.1);
});

test("while jobs run and no runtime is seen to work it is not known whose the load is; without jobs it is the others'", () => {
  const rows = (ms: number) => [row(100, "node", ms), row(300, "python3", 90 * ms)];
  expect(other(rows(0), rows(10), 910, 1)).toBeNull();
  expect(other(rows(0), rows(10), 910, 0)).toBeCloseTo(0.45);
});

test("processes without times, or counters that stand or run backwards, say nothing", () => {
  const windows = [row(300, "game.exe", null)];
  expect(other(windows, windows, 1000, 1)).toBeNull();
  expect(other(windows, windows, 1000, 0)).toBe(0.5);
  expect(other(windows, windows, -1)).toBeNull();
  const cpu = new OtherCpu(1);
  const same = { cores: 2, busyMs: 1, totalMs: 2 };
  cpu.look([], same, 0);
  expect(cpu.look([], same, 0)).toBeNull();
  cpu.forget();
  expect(cpu.look([], { cores: 2, busyMs: 2, totalMs: 4 }, 0)).toBeNull();
});
