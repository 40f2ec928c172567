import { expect, test } from "vitest";
import { DATA_CLASSES, HEADERS, type Layer } from "../bus-schemas/index.ts";
import { askOf, bodyDeclares, isAboutClass } from "./ask.ts";
import type { JobFacts } from "./job.ts";

/** What admission is asked about a P2 job that declares this; undefined = that place says nothing. */
function ask(declared: { header?: string; body?: string }, layer: Layer = "L1") {
  const { header, body } = declared;
  const facts = { dataClass: "P2", deadlineMs: 7, declared: { subject: "P2", header, body } };
  return askOf(facts as unknown as JobFacts, layer);
}

test("what nobody declares is not made up, and classes are asked about as they are", () => {
  const nothing = { subjectClass: "P2", headerClass: undefined, bodyClass: undefined, deadlineMs: 7 };
  for (const layer of ["L0", "L1", "L2"] as const) {
    expect(ask({}, layer)).toEqual(nothing);
    for (const said of DATA_CLASSES)
      expect(ask({ header: said, body: said }, layer)).toEqual({ ...nothing, headerClass: said, bodyClass: said });
  }
});

test("a body's class that is none counts as what it looks like; on L2 it is P0, whatever it looks like", () => {
  for (const [said, inTheHouse] of [
    ["p0", "P0"],
    ["p1", "P1"],
    ["p2", undefined],
    ["public", undefined],
  ] as const) {
    for (const layer of ["L0", "L1"] as const) expect(ask({ body: said }, layer).bodyClass).toBe(inTheHouse);
    expect(ask({ body: said }, "L2").bodyClass).toBe("P0");
  }
});

test("a header that is no class is a bad request on every layer", () => {
  for (const layer of ["L0", "L1", "L2"] as const)
    for (const header of ["p0", "p2", "P2, P2", "garbage"])
      expect(() => ask({ header }, layer)).toThrow(
        expect.objectContaining({ code: "bad_request", field: HEADERS.dataClass }),
      );
});

test("an empty class in a body declares nothing", () => {
  expect([{ security_level: "" }, { security_level: "p0" }, {}].map(bodyDeclares)).toEqual([
    undefined,
    "p0",
    undefined,
  ]);
});

test("what says that a class is in the way is told apart from everyday refusals", () => {
  expect(["forbidden", "anonymiser_required", "all_busy", "draining"].map((code) => isAboutClass({ code }))).toEqual([
    true,
    true,
    false,
    false,
  ]);
});
