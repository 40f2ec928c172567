import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { EXIT } from "../command.ts";
import { COMMANDS } from "./index.ts";

/** A program with every command, of which nothing reaches the terminal. */
function build() {
  const said: string[] = [];
  const program = new Command("tiermesh");
  for (const add of COMMANDS) add(program);
  const quiet = (command: Command) => {
    command
      .exitOverride()
      .configureOutput({ writeOut: (text) => said.push(text), writeErr: (text) => said.push(text) });
    command.commands.forEach(quiet);
  };
  quiet(program);
  return { program, said };
}

/** The commands a person runs: those without commands below them. */
function leaves(command: Command, path: string[] = []): { path: string[]; command: Command }[] {
  if (command.commands.length === 0) return [{ path, command }];
  return command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
}

test("each entry of the list adds exactly one command, and no two share a name", () => {
  const names = COMMANDS.map((add) => {
    const program = new Command();
    add(program);
    expect(program.commands).toHaveLength(1);
    return program.commands[0]?.name();
  });
  expect(new Set(names).size).toBe(COMMANDS.length);
  expect(names).toEqual(
    expect.arrayContaining(["up", "status", "nodes", "submit", "route", "audit", "doctor", "version"]),
  );
});

describe.each(leaves(build().program).map(({ path }) => [path.join(" "), path] as const))(
  "tiermesh %s",
  (name, path) => {
    test("says what it does, what each option means, and shows examples of itself", async () => {
      const { program, said } = build();
      await expect(program.parseAsync([...path, "--help"], { from: "user" })).rejects.toMatchObject({ exitCode: 0 });
      const help = said.join("");
      expect(help).toContain("Examples:");
      expect(help).toMatch(new RegExp(`\\$ .*tiermesh ${name}`));
      const command = leaves(program).find((leaf) => leaf.path.join(" ") === name)?.command;
      expect(command?.description()).not.toBe("");
      expect(command?.options.filter(({ description }) => description === "")).toEqual([]);
    });

    test("can print JSON for a program", () => {
      const command = leaves(build().program).find((leaf) => leaf.path.join(" ") === name)?.command;
      expect(command?.options.map(({ long }) => long)).toContain("--json");
    });

    test("names an option that it does not have", async () => {
      const { program, said } = build();
      await expect(program.parseAsync([...path, "--no-such-flag", "x"], { from: "user" })).rejects.toThrow();
      expect(said.join("")).toContain("--no-such-flag");
    });
  },
);

test.each([
  [["submit", "--class", "P3", "x"], "--class"],
  [["submit", "--class", "p0", "x"], "--class"],
  [["submit", "--max-tokens", "many", "x"], "--max-tokens"],
  [["submit", "--max-tokens", "1.5", "x"], "--max-tokens"],
  [["submit", "--max-tokens", "0", "x"], "--max-tokens"],
  [["submit", "--max-tokens", "1000001", "x"], "--max-tokens"],
  [["submit", "--timeout", "soon", "x"], "--timeout"],
  [["submit", "--timeout", "-1", "x"], "--timeout"],
  [["submit", "--timeout", "1e12", "x"], "--timeout"],
  [["submit", "--timeout", "NaN", "x"], "--timeout"],
  [["submit", "--queue", "a.b", "x"], "--queue"],
  [["submit", "  "], "prompt"],
  [["submit"], "prompt"],
  [["route", "--class", "secret"], "--class"],
  [["route", "--queue", "*"], "--queue"],
  [["jobs", "list", "--state", "lost"], "--state"],
  [["jobs", "list", "--queue", "a.b"], "--queue"],
  [["jobs", "dead", "--limit", "0"], "--limit"],
  [["jobs", "show", "a b"], "id"],
  [["jobs", "add", "--class", "P3", "x"], "--class"],
  [["model", "load", "gpu-1"], "model"],
  [["model", "load", "a.b", "m"], "node"],
  [["model", "pull", "gpu-1", "x".repeat(201)], "model"],
  [["model", "unload", "gpu-1", "m", "--runtime", "a.b"], "--runtime"],
  [["agent", "run", "--profile", "laptop"], "--profile"],
  [["agent", "pause", "--minutes", "0"], "--minutes"],
  [["agent", "pause", "--minutes", "soon"], "--minutes"],
  [["agent", "snooze", "43201"], "minutes"],
  [["agent", "status", "--node", "a.b"], "--node"],
  [["node", "suspend"], "node"],
  [["node", "cordon", "a.b"], "node"],
  [["node", "drain", "gpu-1", "--reason", ""], "--reason"],
  [["node", "resume", "gpu-1", "--reason", "x"], "--reason"],
  [["up", "--gateway-port", "0"], "--gateway-port"],
  [["up", "--gateway-port", "http"], "--gateway-port"],
  [["up", "--bus-port", "65536"], "--bus-port"],
  [["up", "--routers", "0"], "--routers"],
  [["up", "--cell", "a.b"], "--cell"],
  [["audit", "tail", "--lines", "0"], "--lines"],
  [["audit", "tail", "--type", "gossip"], "--type"],
  [["audit", "receipt"], "job"],
  [["audit", "receipt", "a b"], "job"],
  [["audit", "verify", "--receipt", "r", "--offline", "f"], "--receipt"],
  [["audit", "verify", "--key"], "--key"],
  [["simulate"], "fleet"],
  [["simulate", "f.yaml", "--load", "0"], "--load"],
  [["simulate", "f.yaml", "--routers", "1.5"], "--routers"],
  [["simulate", "f.yaml", "--heartbeat", "5"], "--heartbeat"],
  [["simulate", "f.yaml", "--strategy", "luck"], "--strategy"],
  [["simulate", "f.yaml", "--seed", "-1"], "--seed"],
  [["simulate", "f.yaml", "--jobs", "0"], "--jobs"],
  [["simulate", "f.yaml", "--classes", "P0=1,P9=1"], "--classes"],
  [["simulate", "f.yaml", "--classes", "P0=0"], "--classes"],
  [["simulate", "f.yaml", "--timeout", "1h"], "--timeout"],
  [["simulate", "f.yaml", "--trace", "t", "--synthetic"], "--synthetic"],
  [["simulate", "f.yaml", "--jobs", "5", "--minutes", "5"], "--minutes"],
  [["audit", "tial"], "tial"],
  [["statsu"], "statsu"],
])("%j is refused before anything is done, naming %s", async (args, named) => {
  const { program, said } = build();
  const error = await program.parseAsync(args, { from: "user" }).catch((cause: unknown) => cause);
  expect((error as { exitCode?: number }).exitCode).not.toBe(EXIT.ok);
  expect(said.join("")).toContain(named);
});
