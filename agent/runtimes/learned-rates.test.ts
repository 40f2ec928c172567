import { expect, test } from "vitest";
import { ServedModel } from "../../bus-schemas/index.ts";
import { LearnedRates } from "./learned-rates.ts";

const model = ServedModel.parse({ name: "m", runtime: "r" });
const answer = { promptTokens: 1000, completionTokens: 101, ttftMs: 500, generationMs: 2000 };

test("nothing is claimed before an answer was seen", () => {
  expect(new LearnedRates().fill(model)).toEqual(model);
});

test("prefill is prompt tokens over the time to the first token, and a token's time is over the intervals", () => {
  const rates = new LearnedRates();
  rates.observe("r", "m", answer);
  expect(rates.fill(model)).toMatchObject({ prefill_tokens_per_second: 2000, ms_per_token: 20 });
});

test("a slower answer moves the average and does not replace it", () => {
  const rates = new LearnedRates();
  rates.observe("r", "m", answer);
  rates.observe("r", "m", { ...answer, generationMs: 4000 });
  const { ms_per_token: msPerToken } = rates.fill(model);
  expect(msPerToken).toBeGreaterThan(20);
  expect(msPerToken).toBeLessThan(40);
});

test("the same model on another runtime has rates of its own", () => {
  const rates = new LearnedRates();
  rates.observe("other", "m", answer);
  expect(rates.fill(model)).toEqual(model);
});

test.each([
  ["a short prompt and a short answer", { promptTokens: 3, completionTokens: 2, ttftMs: 5, generationMs: 5 }],
  ["a fully cached prompt", { promptTokens: 0, completionTokens: 0, ttftMs: 5, generationMs: 0 }],
  ["a clock that stood still", { ...answer, ttftMs: 0, generationMs: 0 }],
])("%s teaches nothing", (_name, odd) => {
  const rates = new LearnedRates();
  rates.observe("r", "m", odd);
  expect(rates.fill(model)).toMatchObject({ prefill_tokens_per_second: null, ms_per_token: null });
});

test("a load teaches the runtime's rate: size over what the first token took beyond the prompt, for all its models", () => {
  const rates = new LearnedRates();
  rates.observe("r", "m", answer);
  rates.observeLoad("r", "m", { sizeGb: 8, ttftMs: 4500, promptTokens: 1000 });
  expect(rates.fill(model)).toMatchObject({ prefill_tokens_per_second: 2000, load_gb_per_second: 2 });
  expect(rates.fill({ ...model, name: "other" })).toMatchObject({
    prefill_tokens_per_second: null,
    load_gb_per_second: 2,
  });
  expect(rates.fill({ ...model, runtime: "elsewhere" }).load_gb_per_second).toBeNull();
});

test.each([
  ["a model that was in memory after all", { sizeGb: 8, ttftMs: 90, promptTokens: 10 }],
  ["a model of unknown size", { sizeGb: 0, ttftMs: 4500, promptTokens: 10 }],
])("%s teaches no load rate", (_name, load) => {
  const rates = new LearnedRates();
  rates.observeLoad("r", "m", load);
  expect(rates.fill(model).load_gb_per_second).toBeNull();
});
