import { expect, test } from "vitest";
import { ownInbox, permissionsOf } from "../../bus-schemas/index.ts";
import { newUserNkey } from "../../service/access/nkey-file.ts";
import { renderAccounts, type BusUser } from "./accounts-config.ts";

const { publicKey, seed } = newUserNkey();
const agent: BusUser = {
  role: "agent",
  publicKey,
  label: "agent gpu-1, L1",
  holder: { inbox: ownInbox(publicKey), node: "gpu-1", layer: "L1" },
};

test("a user is its public key, its role's subjects and no more: no secret, no password, no right to answer", () => {
  const text = renderAccounts([agent]);
  expect(text).toContain(`nkey: ${publicKey}`);
  expect(text).not.toContain(new TextDecoder().decode(seed));
  expect(text).not.toMatch(/password|token|allow_responses/);
  const { publish, subscribe, denySubscribe } = permissionsOf("agent", agent.holder);
  for (const { subject } of [...publish, ...subscribe, ...denySubscribe]) expect(text).toContain(`"${subject}"`);
});

test("the system account has no user, and users of the mesh come by plain connections only", () => {
  const text = renderAccounts([agent]);
  expect(text).toContain("system_account: SYS");
  expect(text).toMatch(/SYS \{\n {4}exports: [^\n]*\n {2}\}/);
  expect(text).toContain('allowed_connection_types: ["STANDARD"]');
});

test("the same users make the same text, so that a reload means a change", () => {
  expect(renderAccounts([agent])).toBe(renderAccounts([{ ...agent }]));
});

test("a node whose name is none is refused rather than written", () => {
  for (const node of ["a b", 'x"] } }', "*", "a\nb"])
    expect(() => renderAccounts([{ ...agent, holder: { ...agent.holder, node } }])).toThrow(RangeError);
});
