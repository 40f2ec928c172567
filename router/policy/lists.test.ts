import { readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { SubjectToken } from "../../bus-schemas/index.ts";
import { anyPolicy, anyRecord, anyRequest, fleetOf, lookedAt, policyOf } from "../../test/kit/routing.ts";
import { FILTERS } from "./filters/index.ts";
import { scoreTerms, totalScore } from "./score.ts";
import { SCORERS } from "./scorers/index.ts";

/** What every filter and scorer on the lists must do, whoever adds one. */
const anyLook = fc
  .record({ record: anyRecord, request: anyRequest, policy: anyPolicy })
  .filter(({ record }) => record.models.length + record.served_models.length > 0)
  .map(({ record, request, policy }) => lookedAt(fleetOf(record), request, policy));

const files = (folder: string) =>
  readdirSync(join(import.meta.dirname, folder)).filter((name) => name.endsWith(".ts") && name !== "index.ts");

test.each(["filters", "scorers"])("each file in %s is on its list once and has a test beside it", (folder) => {
  const sources = files(folder).filter((name) => !name.endsWith(".test.ts"));
  expect(files(folder).filter((name) => name.endsWith(".test.ts"))).toEqual(
    sources.map((name) => name.replace(".ts", ".test.ts")),
  );
  const names = (folder === "filters" ? FILTERS : SCORERS).map(({ name }) => name.replaceAll("_", "-"));
  expect(names.toSorted()).toEqual(sources.map((name) => name.replace(".ts", "")).toSorted());
});

test.each(FILTERS)("filter $name says nothing or a short reason, the same each time, and changes nothing", (filter) => {
  expect(SubjectToken.safeParse(filter.name).success).toBe(true);
  fc.assert(
    fc.property(anyLook, ([option, request, context]) => {
      const before = JSON.stringify([option, request, context]);
      const reason = filter.reject(option, request, context);
      const length = reason?.length ?? 10;
      expect(length > 3 && length <= 300).toBe(true);
      expect(filter.reject(option, request, context)).toBe(reason);
      expect(JSON.stringify([option, request, context])).toBe(before);
    }),
  );
});

test.each(SCORERS)("scorer $name stays between 0 and 1 and does not look at other nodes", (scorer) => {
  fc.assert(
    fc.property(anyLook, anyRecord, ([option, request, context], other) => {
      const score = scorer.score(option, request, context);
      expect(score).toBeGreaterThanOrEqual(0);
      expect(score).toBeLessThanOrEqual(1);
      if (other.node_id === option.view.record.node_id) return;
      const accompanied = fleetOf(option.view.record, { ...other, layer: option.layer });
      expect(scorer.score(lookedAt(accompanied, request, context.policy)[0], request, context)).toBe(score);
    }),
  );
});

test("the score is SEED's weighted sum of the four terms", () => {
  expect(SCORERS.map(({ name }) => name)).toEqual(["security", "capability", "latency", "cost"]);
  fc.assert(
    fc.property(anyLook, ([option, request, context]) => {
      const { total, security, capability, latency, cost } = scoreTerms(option, request, {
        ...context,
        weights: policyOf().routing.scoring_weights,
      });
      expect(total).toBeCloseTo(0.4 * security + 0.25 * capability + 0.2 * latency + 0.15 * cost, 12);
      expect(totalScore(option, request, context)).toBe(scoreTerms(option, request, context).total);
    }),
  );
});

test("a node that is better in one term and equal in the rest never scores lower", () => {
  fc.assert(
    fc.property(anyLook, fc.double({ min: 1, max: 10, noNaN: true }), ([option, request, context], factor) => {
      const score = totalScore(option, request, context);
      const { view } = option;
      const dearer = { ...view, record: { ...view.record, cost_factor: view.record.cost_factor * factor } };
      expect(totalScore({ ...option, view: dearer }, request, context)).toBeLessThanOrEqual(score);
      const slower = { ...view, correction: view.correction * factor };
      expect(totalScore({ ...option, view: slower }, request, context)).toBeLessThanOrEqual(score);
      const duller = { ...option, quality: option.quality / factor };
      expect(totalScore(duller, request, context)).toBeLessThanOrEqual(score);
    }),
  );
});
