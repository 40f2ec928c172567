import { expect, test } from "vitest";
import { z } from "zod";
import { EVENTS, EVENT_TYPES, NO_CLASS, SubjectToken, subjects } from "./index.ts";

/** Field names under which content or secrets travel elsewhere. */
const CONTENT_FIELDS = [
  "messages",
  "prompt",
  "content",
  "answer",
  "password",
  "api_key",
  "token",
  "reasoning",
  "tool_calls",
];

function fieldNames(schema: unknown): string[] {
  if (Array.isArray(schema)) return schema.flatMap(fieldNames);
  if (typeof schema !== "object" || schema === null) return [];
  const { properties = {} } = schema as { properties?: object };
  return [...Object.keys(properties), ...Object.values(schema).flatMap(fieldNames)];
}

for (const type of EVENT_TYPES) {
  test(`${type} keeps the contract of events`, () => {
    const { summary, data } = EVENTS[type];
    expect(SubjectToken.safeParse(type).success).toBe(true);
    expect(subjects().event(type, NO_CLASS, "agent", "n1")).toContain(type);
    expect(summary).toMatch(/^[A-Z].*\.$/s);
    // Its data is an object whose schema can be published, and which says nothing of what a job is about.
    expect(data).toBeInstanceOf(z.ZodObject);
    const names = fieldNames(z.toJSONSchema(data, { io: "input" }));
    expect(names.filter((name) => CONTENT_FIELDS.includes(name))).toEqual([]);
    expect(data.safeParse("garbage").success).toBe(false);
    expect(data.safeParse({}).success).toBe(false);
  });
}
