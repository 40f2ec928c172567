import { fileURLToPath } from "node:url";
import path from "node:path";
import { eventually, startMesh, type TestMesh } from "./mesh.ts";
import { startProc, type Proc } from "./proc.ts";
import { tempDir } from "./temp-dir.ts";
import { MeshClient } from "../../client/index.ts";
import { createLog } from "../../service/log.ts";

const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
const RUNTIME = fileURLToPath(new URL("./answering-runtime.child.ts", import.meta.url));

/** What the machines beside the broker's serve; that one serves another. */
export const SHARED_MODEL = "shared";
const READY_LIMIT_MS = 60_000;

/** A machine of its own: an agent that joined by a token, and its runtime. */
export interface Machine {
  name: string;
  /** Its agent's state folder. */
  home: string;
  runtime: Proc;
  /** Replaced at each start. */
  agent: Proc;
  /** Starts the agent anew after it was killed, and waits until it is there. */
  restart(): Promise<void>;
}

/** A real mesh with several machines that serve the same model, each of which may be stopped or killed. */
export interface FailoverMesh extends AsyncDisposable {
  mesh: TestMesh;
  client: MeshClient;
  machines: readonly Machine[];
  machine(name: string): Machine;
  /** Waits until all machines take jobs and have none. */
  allReady(): Promise<void>;
}

/**
 * @param args more flags of `tiermesh up`
 * @param entry what is started as a machine's agent, with the arguments of `tiermesh`
 * @param prepare called before a machine's agent starts for the first time; gives more of its environment
 */
export async function startFailoverMesh(
  names: readonly string[],
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
  {
    entry = MAIN,
    prepare = () => ({}),
  }: { entry?: string; prepare?: (name: string, home: string) => Record<string, string> } = {},
): Promise<FailoverMesh> {
  const hereOnly = await startRuntime("here-only");
  const mesh = await startMesh({ TIERMESH_LOOPBACK: "false", TIERMESH_RUNTIMES: urlOf(hereOnly), ...env }, args);
  const client = await MeshClient.connect({ ...mesh.address, log: createLog("test", "silent") });
  client.nodes.list();
  client.nodes.watchConnections();
  const folders = names.map((name) => tempDir(`tiermesh-${name}-`));
  const ready = (name: string) =>
    eventually(
      `${name} ready`,
      () =>
        client.nodes
          .list()
          .some(
            ({ record, state }) =>
              record.node_id === name &&
              state === "ready" &&
              record.models.includes(SHARED_MODEL) &&
              record.load?.running === 0,
          ),
      READY_LIMIT_MS,
    );
  const machines: Machine[] = [];
  const add = async (name: string, i: number) => {
    const runtime = await startRuntime(SHARED_MODEL);
    const added = await mesh.run("node", "add", name, "--layer", "L1");
    const token = added.out.split("\n")[0] ?? "";
    const home = folders[i]?.path ?? "";
    const own = prepare(name, home);
    const start = () =>
      startProc(entry, {
        args: ["agent", "run", "--json", "--join", token],
        env: {
          ...mesh.env,
          ...env,
          TIERMESH_HOME: home,
          TIERMESH_RUNTIMES: urlOf(runtime),
          TIERMESH_NODE_ID: name,
          TIERMESH_LAYER: "L1",
          NODE_COMPILE_CACHE: path.join(mesh.home, "compiled"),
          TIERMESH_SUPERVISED: undefined,
          ...own,
        },
      });
    const machine: Machine = {
      name,
      home,
      runtime,
      agent: start(),
      restart: async () => {
        await machine.agent.exited;
        machine.agent = start();
        await ready(name);
      },
    };
    machines.push(machine);
    await ready(name);
  };
  const dispose = async () => {
    await client.close();
    for (const { agent, runtime } of machines) {
      // A process that is stopped hears nothing else.
      for (const proc of [agent, runtime]) proc.kill("SIGCONT");
      await agent[Symbol.asyncDispose]();
      await runtime[Symbol.asyncDispose]();
    }
    await mesh[Symbol.asyncDispose]();
    await hereOnly[Symbol.asyncDispose]();
    for (const folder of folders) await folder.remove();
  };
  try {
    // One after the other: a join that meets the broker's reload for another one may find no bus.
    for (const [i, name] of names.entries()) await add(name, i);
  } catch (error) {
    const said = machines.flatMap(({ name, agent }) => [name, ...agent.lines, ...agent.errors].slice(-10));
    await dispose();
    throw new Error(said.join("\n"), { cause: error });
  }
  return {
    mesh,
    client,
    machines,
    machine: (name) => {
      const found = machines.find((each) => each.name === name);
      if (found === undefined) throw new Error(`no machine ${name}`);
      return found;
    },
    allReady: async () => void (await Promise.all(names.map(ready))),
    [Symbol.asyncDispose]: dispose,
  };
}

/** The answer of a machine's runtime to `words=<n>`. */
export function answerOf(words: number): string {
  return Array.from({ length: words }, (_, i) => `word-${i} `).join("");
}

async function startRuntime(model: string): Promise<Proc> {
  const runtime = startProc(RUNTIME, { args: [model] });
  await runtime.waitForLine(/"ready":true/, READY_LIMIT_MS);
  return runtime;
}

function urlOf(runtime: Proc): string {
  const line = runtime.lines.find((each) => each.includes('"ready":true')) ?? "{}";
  return `http://127.0.0.1:${(JSON.parse(line) as { port: number }).port}`;
}
