import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { Hardware } from "../../bus-schemas/node-record.ts";
import { unknownHardware } from "./hardware.ts";
import { startProbes, type Probes } from "./start.ts";

const base = { stateDir: tmpdir(), restartMs: { first: 1, limit: 2 } };

/** A thread that runs `code`; `port` is its way to the agent. */
const thread = (code: string) =>
  new URL(
    `data:text/javascript,${encodeURIComponent(`import { parentPort as port } from "node:worker_threads";\n${code}`)}`,
  );

const says = (cores: number) =>
  `port.postMessage(${JSON.stringify({
    type: "hardware",
    hardware: { ...unknownHardware(process), cpu_cores: cores, cpu_utilization: 0.5 },
    problems: [],
    complete: true,
  })});`;

/** Waits until `condition` holds, looking at each change. */
function until(probes: Probes, condition: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!condition()) return;
      unsubscribe();
      resolve();
    };
    const unsubscribe = probes.onChange(look);
    look();
  });
}

test("the real thread finds this machine, keeps looking, and stops when told", async () => {
  const probes = startProbes({ ...base, signal: new AbortController().signal });
  expect(probes.current()).toEqual(unknownHardware(process));
  await probes.first;
  const hardware = probes.current();
  expect(Hardware.parse(hardware)).toEqual(hardware);
  expect(hardware.cpu_cores).toBeGreaterThan(0);
  expect(hardware.memory_gb).toBeGreaterThan(0);
  expect(hardware.disk_free_gb).toBeGreaterThan(0);
  expect(hardware.sampled_at.gpus).not.toBeNull();
  await until(probes, () => probes.current().sampled_at.cpu !== hardware.sampled_at.cpu);
  await probes.stop();
});

test("a thread that crashes is started again and said to have crashed; old numbers do not outlive it", async () => {
  const worker = thread(`${says(7)} port.on("message", () => {}); setImmediate(() => { throw new Error("boom"); });`);
  const probes = startProbes({ ...base, worker, signal: new AbortController().signal });
  let crashes = 0;
  await until(probes, () => {
    if (probes.problems().some(({ probe }) => probe === "worker")) crashes++;
    return crashes >= 2;
  });
  expect(probes.problems()).toMatchObject([{ probe: "worker", message: "the probes' thread crashed" }]);
  expect(probes.current()).toMatchObject({ cpu_cores: 7, cpu_utilization: null });
  await probes.first;
  await probes.stop();
});

test("a thread that never comes up leaves nothing but what is known to be unknown", async () => {
  const probes = startProbes({ ...base, worker: thread("process.exit(1);"), signal: new AbortController().signal });
  let ends = 0;
  await until(probes, () => probes.problems().length > 0 && ++ends >= 3);
  expect(probes.current()).toEqual(unknownHardware(process));
  await probes.stop();
  await probes.first;
});

test("a thread that falls silent is replaced", async () => {
  const worker = thread(`${says(7)} setInterval(() => {}, 1000);`);
  const probes = startProbes({ ...base, worker, silentAfterMs: 700, signal: new AbortController().signal });
  await probes.first;
  expect(probes.current().cpu_utilization).toBe(0.5);
  await until(
    probes,
    () => probes.problems()[0]?.message === "the probes' thread said nothing for 0.7 s and was replaced",
  );
  await probes.stop();
});

test("a thread that does not listen is stopped by force", async () => {
  const abort = new AbortController();
  const worker = thread(`${says(7)} setImmediate(() => { for (;;); });`);
  const probes = startProbes({ ...base, worker, signal: abort.signal });
  await probes.first;
  abort.abort();
  await probes.stop();
  expect(probes.problems()).toEqual([]);
});

test("probes that are aborted before they start end at once", async () => {
  const probes = startProbes({ ...base, signal: AbortSignal.abort() });
  await probes.first;
  await probes.stop();
});
