import fc from "fast-check";
import { expect, test } from "vitest";
import { limitOf, shareOf, type Said } from "./shares.ts";

const said = (view: string[], used = 0, orphans = 0): Said => ({
  view,
  used: used === 0 ? {} : { chat: used },
  orphans: orphans === 0 ? {} : { chat: orphans },
});

test("shares are equal, the rest goes to the first by name, and together they are the cap", () => {
  const view = ["a", "b", "c"];
  expect(view.map((router) => shareOf(50, view, router))).toEqual([17, 17, 16]);
  expect(view.map((router) => shareOf(1, view, router))).toEqual([1, 0, 0]);
  expect(shareOf(50, view, "stranger")).toBe(0);
});

test("a newcomer has nothing until the others go by a list with it, and what they still have above their shares is theirs", () => {
  const view = ["a", "b", "c"];
  const limit = (a: Said, b: Said) => limitOf("chat", 50, "c", view, new Map(Object.entries({ a, b })), 0);
  expect(limit(said(view), said(["a", "b"]))).toBe(0);
  expect(limit(said(view, 25), said(view, 25))).toBe(0);
  expect(limit(said(view, 20), said(view, 17))).toBe(13);
  expect(limit(said(view, 3), said(view))).toBe(16);
});

test("jobs of a router that is gone are taken off everyone's share, by the larger count that anyone knows", () => {
  const view = ["a", "b"];
  expect(limitOf("chat", 50, "a", view, new Map([["b", said(view)]]), 10)).toBe(20);
  expect(limitOf("chat", 50, "a", view, new Map([["b", said(view, 0, 16)]]), 10)).toBe(17);
});

test("routers that agree never have more than the cap together with what the gone ones left", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 8 }), fc.nat(60), (cap, count, gone) => {
      const orphans = Math.min(cap, gone);
      const view = Array.from({ length: count }, (_, i) => `r${i}`);
      const limits = view.map((me) => {
        const others = new Map(view.filter((each) => each !== me).map((each) => [each, said(view)]));
        return limitOf("chat", cap, me, view, others, orphans);
      });
      expect(limits.reduce((sum, limit) => sum + limit, 0)).toBeLessThanOrEqual(cap - orphans);
    }),
  );
});
