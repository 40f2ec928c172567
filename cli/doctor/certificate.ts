import { readFile } from "node:fs/promises";
import { describeCertificate, RENEW_BEFORE_MS } from "../../service/certificates/index.ts";
import { busAddress } from "../mesh-file.ts";
import type { Check, Finding } from "./check.ts";

/** The authority that the bus is checked by; whether the bus's own certificate is good, the check `bus` tells. */
export const busAuthority: Check = {
  name: "bus TLS",
  check: async (env) => {
    let caFile: string | undefined;
    try {
      ({ caFile } = busAddress(env));
    } catch {
      return { level: "ok", says: "no bus to look at" };
    }
    if (caFile === undefined) return { level: "ok", says: "off: the bus is reached in clear" };
    try {
      return judge(caFile, await readFile(caFile, "utf8"), Date.now());
    } catch (error) {
      return {
        level: "fail",
        says: error instanceof Error ? error.message : String(error),
        todo: "set TIERMESH_NATS_CA to the file of the bus's authority (ca.pem)",
      };
    }
  },
};

function judge(caFile: string, pem: string, nowMs: number): Finding {
  const { subject, notAfterMs, fingerprint } = describeCertificate(pem);
  const says = `${subject} until ${new Date(notAfterMs).toISOString().slice(0, 10)}, SHA-256 ${fingerprint} (${caFile})`;
  const todo = "make a new authority on the bus's machine and give its ca.pem to every other";
  if (notAfterMs <= nowMs) return { level: "fail", says: `expired: ${says}`, todo };
  return notAfterMs - nowMs < RENEW_BEFORE_MS ? { level: "warn", says, todo } : { level: "ok", says };
}
