import { connect } from "node:net";
import { text as readAll } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectBus, type Bus } from "../../service/bus.ts";
import { createLog } from "../../service/log.ts";
import { CANARY, errorOf, written, type Headers } from "../kit/hostile.ts";
import { eventually, startMesh, type TestMesh } from "../kit/mesh.ts";
import { RawNats } from "../kit/raw-nats.ts";

let mesh: TestMesh;
let bus: Bus;
let pids: number[] = [];
beforeAll(async () => {
  mesh = await startMesh({ LOG_LEVEL: "DEBUG" });
  bus = await connectBus("hostile", mesh.address, createLog("test", "silent"));
  pids = mesh.pids();
});
afterAll(async () => {
  await bus.drain();
  await mesh[Symbol.asyncDispose]();
});

test("the HTTP port answers garbage with typed errors that name the field", async () => {
  const post = async (path: string, body: string | Uint8Array, headers: Headers = {}) => {
    const response = await fetch(mesh.gatewayUrl + path, {
      method: "POST",
      body: typeof body === "string" ? body : Buffer.from(body),
      headers: { "Content-Type": "application/json", ...headers },
    });
    const text = await response.text();
    expect(text).not.toContain(CANARY);
    const { error } = JSON.parse(text) as { error: { code: string; param: string | null } };
    return [response.status, error.code, error.param];
  };
  const chat = "/v1/chat/completions";
  const messages = [{ role: "user", content: CANARY }];
  const job = JSON.stringify({ model: "auto", messages });
  for (const path of [chat, "/route"]) {
    expect(await post(path, `{"messages":"${CANARY}`)).toEqual([400, "bad_request", null]);
    expect(await post(path, Buffer.from([0xff, 0xfe, 0]))).toEqual([400, "bad_request", null]);
    expect(await post(path, `["${CANARY}"]`)).toEqual([400, "bad_request", null]);
    expect(await post(path, "")).toEqual([400, "bad_request", null]);
    expect(await post(path, job, { "Content-Type": "text/plain" })).toEqual([415, "unsupported_media_type", null]);
    expect(await post(path, JSON.stringify({ ...JSON.parse(job), max_tokens: CANARY }))).toEqual([
      400,
      "bad_request",
      "max_tokens",
    ]);
    expect(await post(path, job, { "Mesh-Deadline": "soon" })).toEqual([400, "bad_request", "Mesh-Deadline"]);
    expect(await post(path, CANARY.repeat(200_000))).toEqual([413, "payload_too_large", null]);
  }
  expect(await post(chat, JSON.stringify({ model: "auto", messages: 7 }))).toEqual([400, "bad_request", "messages"]);
  expect(await post(chat, JSON.stringify({ model: 7, messages }))).toEqual([400, "bad_request", "model"]);

  // Not even HTTP.
  const socket = connect(mesh.gatewayPort, "127.0.0.1");
  socket.end(`${CANARY}\r\n\r\n\0\xff\r\n\r\n`);
  const answer = await readAll(socket);
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(answer).not.toContain(CANARY);
});

test("the bus port takes neither garbage, nor strangers, nor what is too large", async () => {
  await using garbage = await RawNats.greet(mesh.busPort);
  garbage.write(`${CANARY} \0\xff\r\n`);
  await eventually("an error", () => garbage.errors.length > 0);
  await using stranger = await RawNats.greet(mesh.busPort);
  stranger.write('CONNECT {"user":"tiermesh","pass":"guess"}\r\nPING\r\n');
  await eventually("an error", () => stranger.errors.some((error) => /authorization/i.test(error)));
  await using large = await RawNats.open(mesh.busPort, mesh.tools);
  large.write(`PUB mesh.main.job.submit.chat ${64 * 1024 * 1024}\r\n`);
  await eventually("an error", () => large.errors.some((error) => /payload/i.test(error)));
  // The largest that the bus takes is too large once the mesh has put its headers on it.
  const room = (bus.nc.info?.max_payload ?? 0) - 40;
  const { code } = await errorOf(
    bus,
    bus.subjects.submit("chat"),
    JSON.stringify({ prompt: "x".repeat(room - 200), stream: false, security_level: "P2" }),
  );
  expect(["payload_too_large", "no_node"]).toContain(code);
});

test("after that every process is the same, jobs run, and nothing of it is written anywhere", async () => {
  expect(mesh.pids()).toEqual(expect.arrayContaining(pids));
  const { code, out } = await mesh.run("submit", "--json", `Hello ${CANARY}`);
  expect([code, (JSON.parse(out) as { status: string }).status]).toEqual([0, "finished"]);
  const all = await written(mesh);
  expect(all.join("").length).toBeGreaterThan(10_000);
  expect(all.filter((text) => text.includes(CANARY))).toEqual([]);
});
