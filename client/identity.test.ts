import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SaltKeeper } from "../service/salts.ts";
import { tempDir, type TempDir } from "../test/kit/temp-dir.ts";
import { Identity } from "./identity.ts";

let dir: TempDir;
let salts: SaltKeeper;
beforeEach(() => {
  dir = tempDir("tiermesh-identity-");
  salts = new SaltKeeper(path.join(dir.path, "salts"));
});
afterEach(() => dir.remove());

const job = { prompt: "x" };
const chain = { id: "crm", kind: "service" as const, on_behalf_of: [{ id: "alice" }] };

test("a job without a caller stays as it is; one with a caller brings that one's salt for this job", async () => {
  const identity = new Identity({ salts });
  expect(await identity.on(job, "job-00000001")).toBe(job);
  const named = await identity.on(job, "job-00000001", chain);
  expect(named).toMatchObject({ prompt: "x", caller: { id: "crm", declared_by: "client" } });
  expect(named.commitment_salt).toBe(await salts.jobSalt("crm", "job-00000001"));
  expect((await identity.on(job, "job-00000002", chain)).commitment_salt).not.toBe(named.commitment_salt);
  const own = { ...job, commitment_salt: Buffer.alloc(32, 5).toString("base64url") };
  expect((await identity.on(own, "job-00000001", chain)).commitment_salt).toBe(own.commitment_salt);
});

test("the job's own word comes before who was named at the start, and the call's before both", async () => {
  const identity = new Identity({ caller: { id: "start" } });
  expect((await identity.on(job, "j")).caller?.id).toBe("start");
  expect((await identity.on({ ...job, caller: { id: "body" } }, "j")).caller?.id).toBe("body");
  expect((await identity.on({ ...job, caller: { id: "body" } }, "j", { id: "call" })).caller?.id).toBe("call");
  // Without a keeper of salts its node makes one.
  expect(await identity.on(job, "j")).not.toHaveProperty("commitment_salt");
  await expect(identity.on(job, "j", { id: "a\nb" })).rejects.toMatchObject({
    code: "bad_request",
    field: "caller.id",
  });
});

test("where no salt can be had the job is refused, and the name is in no message", async () => {
  const file = path.join(dir.path, "salts");
  writeFileSync(file, "no folder");
  for (const pseudonyms of [false, true]) {
    const refused = new Identity({ salts, pseudonyms }).on(job, "job-00000001", { id: "alice" });
    await expect(refused).rejects.toMatchObject({ code: "audit_unavailable" });
    await expect(refused).rejects.not.toThrow(/alice/);
  }
});

test("with pseudonyms no name is told, the same one is the same, and the salt is still the caller's", async () => {
  const identity = new Identity({ salts, pseudonyms: true });
  const { caller, commitment_salt: salt } = await identity.on(job, "job-00000001", chain);
  expect(caller).toEqual({
    id: await salts.pseudonym("crm"),
    kind: "service",
    on_behalf_of: [{ id: await salts.pseudonym("alice"), kind: "user" }],
    declared_by: "client",
    pseudonyms: true,
  });
  expect(salt).toBe(await salts.jobSalt("crm", "job-00000001"));
  // Said again by whoever submits it again: not hidden twice.
  expect((await identity.on({ ...job, caller }, "job-00000001")).caller).toEqual(caller);
});
