import { expect, test } from "vitest";
import { files, replayHost, UNHURRIED } from "./fixtures/replay-host.ts";
import { createUserProbe } from "./user.ts";

const NOW_US = Date.UTC(2026, 0, 1) * 1000;

/** A machine with these sessions, each as logind describes it. */
function machine(...sessions: Record<string, string>[]) {
  const names = sessions.map((_, at) => [`/run/systemd/sessions/${at + 1}`, ""]);
  const blocks = sessions.map((session) =>
    Object.entries({ Class: "user", State: "active", Remote: "yes", IdleHint: "no", IdleSinceHint: "0", ...session })
      .map(([key, value]) => `${key}=${value}\n`)
      .join(""),
  );
  return replayHost(
    (program) => (program === "loginctl" ? { stdout: blocks.join("\n") } : undefined),
    files(Object.fromEntries(names)),
  );
}

const idle = async (...sessions: Record<string, string>[]) =>
  (await createUserProbe().probe(machine(...sessions), UNHURRIED)).values.user_idle_seconds;

test("a desktop that keeps the hint is idle since then, or in use", async () => {
  const hour = String(NOW_US - 3_600_000_000);
  expect(await idle({ Type: "wayland", IdleHint: "yes", IdleSinceHint: hour })).toBe(3600);
  expect(await idle({ Type: "wayland", IdleHint: "no", IdleSinceHint: hour })).toBe(0);
});

test("a desktop that never sets the hint says nothing by it", async () => {
  const reading = await createUserProbe().probe(machine({ Type: "wayland" }), UNHURRIED);
  expect(reading).toEqual({
    values: { user_idle_seconds: null },
    how: "logind: this desktop does not say when it is idle",
  });
});

test("the person seen last counts; greeters, services and closing sessions are nobody", async () => {
  const ago = (seconds: number) => String(NOW_US - seconds * 1_000_000);
  const sessions = [
    { Type: "tty", IdleSinceHint: ago(500) },
    { Type: "tty", IdleSinceHint: ago(70) },
    { Type: "tty", IdleSinceHint: ago(1), State: "closing" },
    { Type: "wayland", IdleSinceHint: ago(1), Class: "greeter" },
    { Type: "unspecified", IdleSinceHint: ago(1), Class: "manager" },
  ];
  expect(await idle(...sessions)).toBe(70);
});

test("who may sit at a desktop that does not tell is not away because a terminal is idle", async () => {
  const ago = (seconds: number) => String(NOW_US - seconds * 1_000_000);
  expect(await idle({ Type: "wayland" }, { Type: "tty", IdleSinceHint: ago(7200) })).toBeNull();
  expect(await idle({ Type: "wayland" }, { Type: "tty", IdleSinceHint: ago(5) })).toBe(5);
});

test("a console counts only while it is typed on: a desktop may have been started there", async () => {
  const ago = (seconds: number) => String(NOW_US - seconds * 1_000_000);
  expect(await idle({ Type: "tty", Remote: "no", IdleSinceHint: ago(7200) })).toBeNull();
  expect(await idle({ Type: "tty", Remote: "no", IdleSinceHint: ago(5) })).toBe(5);
});

test("an X11 display answers for its desktop, but under Wayland it sees too little", async () => {
  const display = (env: Record<string, string>) => {
    const host = machine({ Type: env["WAYLAND_DISPLAY"] === undefined ? "x11" : "wayland" });
    const run = host.run;
    return Object.assign(host, {
      env,
      run: (...call: Parameters<typeof run>) =>
        call[0] === "xprintidle" ? Promise.resolve({ code: 0, stdout: "600000\n", stderr: "" }) : run(...call),
    });
  };
  const read = async (env: Record<string, string>) =>
    (await createUserProbe().probe(display(env), UNHURRIED)).values.user_idle_seconds;
  expect(await read({ DISPLAY: ":0" })).toBe(600);
  expect(await read({ DISPLAY: ":0", WAYLAND_DISPLAY: "wayland-0" })).toBeNull();
});

test("a time in the future is no time", async () => {
  expect(await idle({ Type: "tty", IdleSinceHint: String(NOW_US + 1_000_000) })).toBeNull();
});

test("a display that may not be asked leaves the other sources", async () => {
  const host = replayHost(
    (program) =>
      program === "xprintidle"
        ? { code: 1, stderr: "couldn't open display" }
        : program === "stat"
          ? { stdout: "1767225000\n" }
          : undefined,
    { env: { DISPLAY: ":0" }, ...files({ "/dev/pts/0": "" }) },
  );
  expect((await createUserProbe().probe(host, UNHURRIED)).values).toEqual({ user_idle_seconds: 600 });
});

test("on Windows a service cannot tell, and nothing is started", async () => {
  const host = replayHost(undefined, { platform: "win32" });
  expect((await createUserProbe().probe(host, UNHURRIED)).values).toEqual({ user_idle_seconds: null });
  expect(host.asked).toEqual([]);
});
