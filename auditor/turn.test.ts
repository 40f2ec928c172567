import path from "node:path";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { AUDITORS, MeshError, type AuditEntry, type AuditorName, type LogHead } from "../bus-schemas/index.ts";
import type { AgreedHead } from "../service/head-register.ts";
import { tempDir, type TempDir } from "../test/kit/temp-dir.ts";
import { verifyTree } from "../test/kit/signed-log.ts";
import { AuditTree } from "./audit-tree.ts";
import { SegmentLog } from "./segment-log.ts";
import { TURN_MS, Turn, TurnLost, type Register } from "./turn.ts";

const folders: TempDir[] = [];
const opened: SegmentLog[] = [];
afterEach(async () => {
  for (const log of opened.splice(0)) await log.close();
  for (const folder of folders.splice(0)) await folder.remove();
});

/** The register of a bus that may lose its answers. */
class FakeRegister implements Register {
  accepted: LogHead[] = [];
  #revision = 0;
  /** What becomes of the next put. */
  next: "answered" | "unanswered" | "lost" = "answered";

  read(): Promise<AgreedHead | undefined> {
    const head = this.accepted.at(-1);
    return Promise.resolve(head === undefined ? undefined : { revision: this.#revision, head });
  }

  put(head: LogHead, after: number): Promise<number> {
    const fate = this.next;
    this.next = "answered";
    if (fate === "lost") return Promise.reject(new Error("timeout"));
    if (after !== this.#revision) return Promise.reject(new MeshError("conflict", "not the newest"));
    this.accepted.push(head);
    this.#revision++;
    return fate === "unanswered" ? Promise.reject(new Error("timeout")) : Promise.resolve(this.#revision);
  }
}

function event(sequence: number, id = `id-${sequence}`): AuditEntry {
  return {
    sequence,
    stream_sequence: sequence,
    job_id: null,
    id,
    source: "router/r1",
    type: "node_left",
    time: "2026-01-02T03:04:05Z",
    security_level: null,
    traceparent: null,
    data: { node_id: "n1", layer: "L1", reason: null },
  };
}

/** An auditor without a bus: its log, its tree and its turn. */
class Side {
  readonly name: AuditorName;
  readonly dir: string;
  readonly #register: Register;
  readonly #nowMs: () => number;
  #log!: SegmentLog;
  tree!: AuditTree;
  turn!: Turn;

  constructor(name: AuditorName, dir: string, register: Register, nowMs: () => number) {
    this.name = name;
    this.dir = path.join(dir, name);
    this.#register = register;
    this.#nowMs = nowMs;
  }

  /** As after a kill -9. */
  async start(): Promise<void> {
    await this.#log?.close();
    this.#log = await SegmentLog.open(this.dir);
    opened.push(this.#log);
    if (this.#log.streamCreated === undefined) await this.#log.startStream("2026-01-01T00:00:00Z", 0);
    const file = path.join(this.dir, "..", "log-key");
    this.tree = await AuditTree.open(this.dir, this.#log, "mesh.main", { file });
    this.session();
  }

  /** As after an error: the tree stays open. */
  session(): void {
    this.turn = new Turn(this.#register, this.tree, { auditor: this.name, holder: `of-${this.name}` }, this.#nowMs);
  }

  async store(to: number, idOf: (sequence: number) => string): Promise<void> {
    const entries: AuditEntry[] = [];
    for (let at = this.#log.sequence + 1; at <= to; at++) entries.push(event(at, idOf(at)));
    if (entries.length === 0) return;
    await this.#log.append(entries);
    this.tree.add(entries);
  }

  checkpoint(): { size: number; root: string } {
    const [, size, root = ""] = readFileSync(path.join(this.dir, "tlog", "checkpoint"), "utf8").split("\n");
    return { size: Number(size), root };
  }
}

async function pair() {
  const dir = tempDir("tiermesh-turn-");
  folders.push(dir);
  const register = new FakeRegister();
  const clock = { ms: 0 };
  const sides = AUDITORS.map((name) => new Side(name, dir.path, register, () => clock.ms));
  for (const side of sides) await side.start();
  const [first, second] = sides;
  if (first === undefined || second === undefined) throw new Error("two auditors");
  return { register, clock, first, second };
}

const plain = (sequence: number) => `id-${sequence}`;

test("the first auditor begins; the second signs what it agreed on, and takes over when it is silent for long enough", async () => {
  const { clock, first, second } = await pair();
  await second.turn.tend();
  expect(second.turn.isWriter).toBe(false);
  await first.turn.tend();
  expect(first.turn.isWriter).toBe(true);
  for (const side of [first, second]) await side.store(10, plain);
  await first.tree.cover(first.turn.agree);
  await second.turn.tend();
  expect([second.tree.size, second.turn.isWriter, second.turn.writer]).toEqual([10, false, "auditor"]);
  clock.ms += TURN_MS - 1;
  await second.turn.tend();
  expect(second.turn.isWriter).toBe(false);
  clock.ms += 1;
  expect(await second.turn.tend()).toMatchObject({ auditor: "auditor", size: 10 });
  expect(second.turn.isWriter).toBe(true);
  await first.store(20, plain);
  await expect(first.tree.cover(first.turn.agree)).rejects.toThrow(TurnLost);
  expect(first.checkpoint().size).toBe(10);
  first.session();
  await first.turn.tend();
  expect(first.turn.isWriter).toBe(false);
});

test("a writer that says it is there keeps its turn; one that stops in order gives it away at once", async () => {
  const { clock, first, second } = await pair();
  await first.turn.tend();
  for (let i = 0; i < 20; i++) {
    clock.ms += TURN_MS / 2;
    await first.turn.tend();
    await second.turn.tend();
  }
  expect([first.turn.isWriter, second.turn.isWriter]).toEqual([true, false]);
  await first.turn.release();
  await second.turn.tend();
  expect([first.turn.isWriter, second.turn.isWriter]).toEqual([false, true]);
});

test("an auditor whose entries are others than those agreed on neither signs nor takes over", async () => {
  const { clock, first, second } = await pair();
  await first.turn.tend();
  await first.store(10, plain);
  await second.store(12, (sequence) => (sequence === 7 ? "another" : plain(sequence)));
  await first.tree.cover(first.turn.agree);
  await expect(second.turn.tend()).rejects.toMatchObject({ code: "conflict" });
  clock.ms += 2 * TURN_MS;
  await expect(second.turn.tend()).rejects.toMatchObject({ code: "conflict" });
  expect([second.turn.isWriter, second.checkpoint().size]).toEqual([false, 0]);
});

test("one that lacks entries that were agreed on waits for them, however long the other is silent", async () => {
  const { clock, first, second } = await pair();
  await first.turn.tend();
  await first.store(10, plain);
  await second.store(5, plain);
  await first.tree.cover(first.turn.agree);
  clock.ms += 2 * TURN_MS;
  for (let i = 0; i < 3; i++) {
    clock.ms += TURN_MS;
    await second.turn.tend();
  }
  expect(second.turn.isWriter).toBe(false);
  await second.store(10, plain);
  await second.turn.tend();
  expect([second.turn.isWriter, second.tree.size]).toEqual([true, 10]);
});

test("a second auditor without the first one's key makes none, and with another key it stays out", async () => {
  const { clock, first, register } = await pair();
  await first.turn.tend();
  const lonely = new Side("auditor-2", path.join(first.dir, "..", "elsewhere"), register, () => clock.ms);
  await expect(
    AuditTree.open(lonely.dir, await SegmentLog.open(lonely.dir), "mesh.main", { make: false }),
  ).rejects.toThrow("log-key is not there");
  const stranger = new Side("auditor-2", path.join(first.dir, "..", "elsewhere", "other"), register, () => clock.ms);
  await stranger.start();
  for (let i = 0; i < 4; i++) {
    clock.ms += TURN_MS;
    await stranger.turn.tend();
  }
  expect([stranger.turn.isWriter, stranger.turn.otherLog]).toEqual([false, first.tree.origin]);
  expect(register.accepted).toHaveLength(1);
});

test("when the log that was agreed on is gone for good, the first auditor begins a new one, and only that one may", async () => {
  const { clock, first, register } = await pair();
  await first.turn.tend();
  const anew = new Side("auditor", path.join(first.dir, "..", "anew"), register, () => clock.ms);
  // A folder of its own id, as any new one has.
  await anew.start();
  anew.turn = new Turn(register, anew.tree, { auditor: "auditor", holder: "anew" }, () => clock.ms);
  await anew.turn.tend();
  expect(anew.turn.isWriter).toBe(false);
  clock.ms += TURN_MS;
  expect(await anew.turn.tend()).toMatchObject({ origin: first.tree.origin });
  expect([anew.turn.isWriter, anew.turn.otherLog]).toEqual([true, undefined]);
});

test("a writer frozen between agreement and signature signs, when it comes back, what was agreed on and nothing more", async () => {
  const { clock, first, register, second } = await pair();
  await first.turn.tend();
  for (const side of [first, second]) await side.store(10, plain);
  await first.tree.cover(async (head) => {
    await first.turn.agree(head);
    await second.turn.tend();
    clock.ms += TURN_MS;
    await second.turn.tend();
    await second.store(20, plain);
    await second.tree.cover(second.turn.agree);
  });
  expect([first.checkpoint().size, second.checkpoint().size]).toEqual([10, 20]);
  expect(register.accepted).toContainEqual(expect.objectContaining(first.checkpoint()));
  await first.store(30, plain);
  await expect(first.tree.cover(first.turn.agree)).rejects.toThrow(TurnLost);
  expect(first.checkpoint().size).toBe(10);
});

/** One step of one of the two, in a run that is decided by chance. */
const STEP = fc.record({
  side: fc.integer({ min: 0, max: 1 }),
  what: fc.constantFrom("store", "store", "tend", "tend", "cover", "cover", "start", "session", "wait", "release"),
  put: fc.constantFrom("answered", "answered", "answered", "unanswered", "lost"),
  count: fc.integer({ min: 1, max: 300 }),
});

test("whoever stops, freezes, restarts or loses answers when: all that is ever signed was agreed on, and is one log", async () => {
  const run = async (steps: (typeof STEP extends fc.Arbitrary<infer T> ? T : never)[], odd: number | undefined) => {
    const { clock, first, register, second } = await pair();
    let stream = 0;
    const seen = new Map<number, string>();
    for (const { count, put, side, what } of steps) {
      const one = side === 0 ? first : second;
      register.next = put;
      // The second one may have got something else from the stream: then it must not sign that.
      const idOf = (sequence: number) => (one === second && sequence === odd ? "odd" : plain(sequence));
      const act = async () => {
        if (what === "store") await one.store((stream += count), idOf);
        else if (what === "tend") await one.turn.tend();
        else if (what === "cover" && one.turn.isWriter) await one.tree.cover(one.turn.agree);
        else if (what === "start") await one.start();
        else if (what === "session") one.session();
        else if (what === "wait") clock.ms += TURN_MS / 2;
        else if (what === "release") await one.turn.release();
      };
      await act().catch(() => one.session());
      register.next = "answered";
      for (const each of [first, second]) {
        const { root, size } = each.checkpoint();
        const wasAgreed = size === 0 || register.accepted.some((head) => head.size === size && head.root === root);
        expect([size, wasAgreed]).toEqual([size, true]);
        expect(seen.get(size) ?? root).toBe(root);
        seen.set(size, root);
      }
    }
    for (const { size, root } of register.accepted) {
      expect(seen.get(size) ?? root).toBe(root);
      seen.set(size, root);
    }
    const sizes = register.accepted.map(({ size }) => size);
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
    return [first, second];
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(STEP, { maxLength: 30 }),
      fc.option(fc.nat(600), { nil: undefined }),
      async (steps, odd) => {
        for (const { dir } of await run(steps, odd)) expect(verifyTree(dir).problems).toEqual([]);
      },
    ),
    { numRuns: 60 },
  );
}, 120_000);
