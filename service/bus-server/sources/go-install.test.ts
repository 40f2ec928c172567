import { expect, test } from "vitest";
import { firstProxy, refuseGo } from "./go-install.ts";

test("a Go that is new enough, or may fetch a newer one, is used", () => {
  expect(refuseGo({ GOVERSION: "go1.26.8", GOTOOLCHAIN: "local" })).toBeUndefined();
  expect(refuseGo({ GOVERSION: "go1.26", GOTOOLCHAIN: "local" })).toBeUndefined();
  expect(refuseGo({ GOVERSION: "go1.22.1", GOTOOLCHAIN: "auto" })).toBeUndefined();
  expect(refuseGo({ GOVERSION: "devel go1.27-abc" })).toBeUndefined();
});

test("a Go that cannot build it is refused with its version", () => {
  expect(refuseGo({ GOVERSION: "go1.19.8" })).toBe("Go 1.19.8 is older than 1.26.0");
  expect(refuseGo({ GOVERSION: "go1.22.1", GOTOOLCHAIN: "local" })).toMatch(/GOTOOLCHAIN=local forbids/);
});

test("the first place that Go would ask is the one that is probed", () => {
  expect(firstProxy("https://proxy.golang.org,direct")).toBe("https://proxy.golang.org");
  expect(firstProxy("https://a.example|https://b.example")).toBe("https://a.example");
  expect(firstProxy("direct")).toBe("https://github.com");
  expect(firstProxy("off")).toBe("off");
  expect(firstProxy("file:///srv/proxy")).toBeUndefined();
});
