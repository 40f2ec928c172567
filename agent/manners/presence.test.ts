import { expect, test } from "vitest";
import { Presence } from "./presence.ts";

function at(): { presence: Presence; pass: (seconds: number) => void } {
  let nowMs = 1_000_000;
  return { presence: new Presence(() => nowMs), pass: (seconds) => void (nowMs += seconds * 1000) };
}

test("the later of what the helper and the probe saw counts, and grows old", () => {
  const { presence, pass } = at();
  expect(presence.idleSeconds(500, 300)).toBe(500);
  presence.seen(10);
  expect(presence.idleSeconds(500, 300)).toBe(10);
  expect(presence.idleSeconds(3, 300)).toBe(3);
  pass(100);
  expect(presence.idleSeconds(500, 300)).toBe(110);
});

test("nobody can make a person be away: neither by a later word, nor where the probe cannot tell", () => {
  const { presence } = at();
  presence.seen(5);
  presence.seen(100_000);
  expect(presence.idleSeconds(null, 300)).toBe(5);
  const { presence: other } = at();
  other.seen(100_000);
  expect(other.idleSeconds(null, 300)).toBeNull();
  expect(other.idleSeconds(20, 300)).toBe(20);
});
