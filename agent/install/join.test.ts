import { expect, test } from "vitest";
import { writeInviteToken, writeJoinToken, type JoinToken } from "../../service/access/join-token.ts";
import { checkToken } from "./join.ts";

const TOKEN: JoinToken = {
  v: 1,
  urls: ["nats://bus:4222"],
  cell: "main",
  node: "gpu-1",
  layer: "L1",
  seed: `SU${"A".repeat(56)}`,
  expires_unix_ms: Date.UTC(2026, 10, 26, 12),
  ca_pem: null,
};

test("a token that is good by this machine's clock is taken", () => {
  expect(() => checkToken(writeJoinToken(TOKEN), TOKEN.expires_unix_ms - 1)).not.toThrow();
});

test("one that is too old says both times, for it may be the clock that is wrong, and not its secret", () => {
  const attempt = () => checkToken(writeJoinToken(TOKEN), Date.UTC(2031, 0, 1));
  expect(attempt).toThrow(expect.objectContaining({ code: "bad_config", field: "join" }));
  expect(attempt).toThrow(/good until 2026-11-26T12:00:00.000Z, and here it is 2031-01-01T.*clock.*node add gpu-1/);
  expect(attempt).not.toThrow(/SUAAA/);
});

test("what is no token is told without being quoted", () => {
  expect(() => checkToken("secret", 0)).toThrow(expect.objectContaining({ code: "bad_config", field: "join" }));
  expect(() => checkToken("secret", 0)).not.toThrow(/secret/);
});

test("an invitation is good and too old like a token, and another one is made by `node invite`", () => {
  const { node: _node, layer: _layer, ...invitation } = TOKEN;
  const text = writeInviteToken(invitation);
  expect(() => checkToken(text, TOKEN.expires_unix_ms - 1)).not.toThrow();
  expect(() => checkToken(text, Date.UTC(2031, 0, 1))).toThrow(/the invitation was good until .*tiermesh node invite/);
});
