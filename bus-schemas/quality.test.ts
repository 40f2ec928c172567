import fc from "fast-check";
import { expect, test } from "vitest";
import { parseQualityKey, QualityEntry, qualityKey } from "./index.ts";

test("any model name makes a legal key, and the key tells the name", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 100 }), (model) => {
      fc.pre(model.length <= 200);
      const key = qualityKey({ model, taskType: "chat" });
      // NATS ADR-8, and one token after the task's.
      expect(key).toMatch(/^chat\.[-_=A-Za-z0-9]+$/);
      expect(parseQualityKey(key)).toEqual({ model, taskType: "chat" });
    }),
  );
  expect(qualityKey({ model: "qwen2.5:7b", taskType: "rag" })).toBe("rag.qwen2=2E5=3A7b");
  expect(qualityKey({ model: "通义千问", taskType: "rag" })).toBe("rag.=E9=80=9A=E4=B9=89=E5=8D=83=E9=97=AE");
  expect(qualityKey({ model: "a!~*'()/ b%", taskType: "rag" })).toBe("rag.a=21=7E=2A=27=28=29=2F=20b=25");
});

test("what is no name makes no key", () => {
  for (const model of ["", "x".repeat(201), "\ud800"]) {
    expect(() => qualityKey({ model, taskType: "chat" })).toThrow(expect.objectContaining({ field: "model" }));
  }
  for (const taskType of ["", "a.b", "*", ">"]) {
    expect(() => qualityKey({ model: "m", taskType })).toThrow(expect.objectContaining({ field: "task_type" }));
  }
});

test.each([
  "",
  "chat",
  "chat.",
  ".m",
  "chat.a.b",
  "chat.a=",
  "chat.=ZZ",
  "chat.=C3",
  "chat.=61",
  "chat.=2e",
  "chat.a/b",
  "*.m",
])("%s is nobody's key", (key) => {
  expect(parseQualityKey(key)).toBeUndefined();
});

test("a score lies between 0 and 1, its time is one, and somebody says it", () => {
  const entry = { score: 0.8, samples: 12, updated_ms: 1_800_000_000_000, source: "ann" };
  expect(QualityEntry.parse({ ...entry, comment: "dropped" })).toEqual(entry);
  const bad = [
    { score: 1.1 },
    { score: "0.8" },
    { score: null },
    { samples: -1 },
    { samples: 0.5 },
    { updated_ms: 0 },
    { source: "" },
  ];
  for (const wrong of bad) expect(QualityEntry.safeParse({ ...entry, ...wrong }).success).toBe(false);
});
