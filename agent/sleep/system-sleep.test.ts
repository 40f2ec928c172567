import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import type { ChildProcess } from "node:child_process";
import { expect, test } from "vitest";
import { followSystemSleep } from "./system-sleep.ts";

/** A watch of logind that says what the test has it say. */
class FakeWatch extends EventEmitter {
  readonly stdout = new PassThrough();
  readonly pid = undefined;
  say(line: string): void {
    this.stdout.write(`${line}\n`);
  }
}

const SIGNAL = "/org/freedesktop/login1: org.freedesktop.login1.Manager.PrepareForSleep";

function follow(onSleep: () => Promise<void>) {
  const watches: { watch: FakeWatch; command: readonly string[]; env: NodeJS.ProcessEnv }[] = [];
  const started = new EventEmitter();
  const stop = new AbortController();
  const done = followSystemSleep(
    {
      onSleep,
      env: { PATH: "/bin", TIERMESH_NATS_PASSWORD: "secret" },
      launch: (command, env) => {
        const watch = new FakeWatch();
        watches.push({ watch, command, env });
        started.emit("started");
        return watch as unknown as ChildProcess;
      },
      againMs: { afterSleep: 0, first: 0, limit: 0 },
    },
    stop.signal,
  );
  const nth = async (n: number) => {
    while (watches.length < n) await new Promise((resolve) => started.once("started", resolve));
    return watches[n - 1]?.watch ?? new FakeWatch();
  };
  return { watches, nth, stop, done };
}

test("logind's word that it is about to sleep is passed on once; after the goodbye the watch is started anew", async () => {
  let sleeps = 0;
  const { nth, watches, stop, done } = follow(async () => void sleeps++);
  const first = await nth(1);
  first.say("Monitoring signals on object /org/freedesktop/login1 owned by org.freedesktop.login1");
  first.say(
    "/org/freedesktop/login1: org.freedesktop.login1.Manager.SessionNew ('7', objectpath '/org/freedesktop/login1/session/_37')",
  );
  first.say(`${SIGNAL} (false,)`);
  first.say(`${SIGNAL} (true,)`);
  first.say(`${SIGNAL} (true,)`);
  const second = await nth(2);
  expect(sleeps).toBe(1);
  second.say(`${SIGNAL} (true,)`);
  const third = await nth(3);
  expect(sleeps).toBe(2);
  stop.abort();
  third.emit("exit", null, "SIGKILL");
  await done;
  expect(watches[0]?.command.slice(0, 3)).toEqual(["systemd-inhibit", "--what=sleep", "--mode=delay"]);
  expect(watches[0]?.env).toEqual({ PATH: "/bin" });
});

test("a watch that ends is started again; without its programs there is none", async () => {
  const { nth, watches, done } = follow(async () => undefined);
  (await nth(1)).emit("exit", 1, null);
  (await nth(2)).emit("error", Object.assign(new Error("spawn"), { code: "ENOENT" }));
  await done;
  expect(watches).toHaveLength(2);
});
