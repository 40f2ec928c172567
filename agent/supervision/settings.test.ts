import { expect, test } from "vitest";
import { parseYamlConfig } from "../../service/yaml-config.ts";
import { AgentFile } from "../manners/settings.ts";

const read = (text: string) => parseYamlConfig(text, { schema: AgentFile, name: "agent.yaml", maxBytes: 100_000 });

test("a command and a unit are read, with what they leave out", () => {
  const { managed_runtimes: managed } = read(`
managed_runtimes:
  llama:
    url: http://127.0.0.1:8080
    command: [/usr/local/bin/llama-server, -m, /models/a.gguf, --port, "8080"]
    env: {CUDA_VISIBLE_DEVICES: "1"}
  vllm:
    url: http://localhost:8000/v1
    unit: vllm@qwen.service
`);
  expect(managed?.["llama"]).toMatchObject({ start_seconds: 600, silent_seconds: 20, give_up_after: 6 });
  expect(managed?.["vllm"]).toMatchObject({ unit: "vllm@qwen.service" });
});

test.each([
  ["a misspelt key", "unti: x.service", /unti: unknown key/],
  ["neither command nor unit", "start_seconds: 5", /exactly one of command and unit/],
  ["both", "command: [a]\n    unit: a.service", /exactly one of command and unit/],
  ["a unit that is an option", "unit: --root=x.service", /the name of a unit/],
  ["a unit that is none", "unit: vllm", /the name of a unit/],
  ["a unit with a path in it", "unit: ../x.service", /the name of a unit/],
  ["a command that is a line for a shell", "command: llama-server -m x", /command/],
  ["a command without a word", "command: []", /command/],
  ["variables of a unit", "unit: a.service\n    env: {A: b}", /env: only with command/],
  ["a log of a unit", "unit: a.service\n    log_file: /tmp/x", /log_file: only with command/],
  ["a user's unit that is a command", "command: [a]\n    user_unit: true", /user_unit: only with unit/],
  ["a time that is none", "unit: a.service\n    start_seconds: soon", /start_seconds/],
])("%s is refused, naming the field and its line", (_, text, message) => {
  expect(() => read(`managed_runtimes:\n  r:\n    url: http://127.0.0.1:8000\n    ${text}\n`)).toThrow(message);
});

test.each(["http://10.0.0.5:8000", "https://127.0.0.1:8000", "8000", "http://127.0.0.1:8000/x"])(
  "%s is no address of this machine",
  (url) => expect(() => read(`managed_runtimes: {r: {url: "${url}", unit: a.service}}`)).toThrow(/an address of this/),
);

test("two on one port, and a name that the agent has for its own, are refused", () => {
  const one = (name: string) => `${name}: {url: "http://127.0.0.1:8000", unit: a.service}`;
  expect(() => read(`managed_runtimes: {${one("a")}, ${one("b")}}`)).toThrow(/another has this port/);
  expect(() => read(`managed_runtimes: {${one("embedded")}}`)).toThrow(/the agent's own name/);
});
