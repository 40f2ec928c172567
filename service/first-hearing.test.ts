import { headers } from "@nats-io/nats-core";
import { expect, test } from "vitest";
import { FirstHearing } from "./first-hearing.ts";

const msg = (text: string, subject = "a") => ({ subject, data: Buffer.from(text) });

test("a message that both hear is new once, whoever hears it first", () => {
  const hearing = new FirstHearing();
  expect(hearing.isFirst("first", 1, msg("x"))).toBe(true);
  expect(hearing.isFirst("second", 1, msg("x"))).toBe(false);
  expect(hearing.isFirst("second", 1, msg("y"))).toBe(true);
  expect(hearing.isFirst("first", 1, msg("y"))).toBe(false);
});

test("the same bytes said three times are three messages", () => {
  const hearing = new FirstHearing();
  const heard = (["first", "first", "second", "second", "second", "first"] as const).map((ear) =>
    hearing.isFirst(ear, 1, msg("x")),
  );
  expect(heard).toEqual([true, true, false, false, true, false]);
});

test("subject, listener, reply and headers make a message another one", () => {
  const hearing = new FirstHearing();
  const named = headers();
  named.set("a", "b");
  expect(hearing.isFirst("first", 1, msg("x"))).toBe(true);
  expect(hearing.isFirst("second", 2, msg("x"))).toBe(true);
  expect(hearing.isFirst("second", 1, msg("x", "b"))).toBe(true);
  expect(hearing.isFirst("second", 1, { ...msg("x"), reply: "r" })).toBe(true);
  expect(hearing.isFirst("second", 1, { ...msg("x"), headers: named })).toBe(true);
  expect(hearing.isFirst("second", 1, msg("x"))).toBe(false);
});

test("after five seconds the same bytes are another message: the other connection never heard the one before", () => {
  let now = 0;
  const hearing = new FirstHearing(() => now);
  hearing.isFirst("first", 1, msg("x"));
  now = 5001;
  expect(hearing.isFirst("second", 1, msg("x"))).toBe(true);
});
