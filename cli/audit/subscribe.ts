import { existsSync, writeFileSync } from "node:fs";
import { InvalidArgumentError } from "commander";
import { EventFilter, MeshError } from "../../bus-schemas/index.ts";
import { newUserNkey } from "../../service/access/nkey-file.ts";
import { print, printJson } from "../format/terminal.ts";
import { addReader, revokeNode } from "../registry-client.ts";
import { withClient } from "../with-client.ts";

export interface SubscribeFlags {
  filter: string[];
  fromStart?: boolean;
  out?: string;
  url?: string;
  json?: boolean;
}

/** All that a program needs to read: what docs/examples/audit-consumer takes. */
interface Subscription {
  urls: string[];
  /** Authority of the bus's certificates, PEM; null where it has none. */
  ca_pem: string | null;
  stream: string;
  consumer: string;
  /** Where its answers come; its NATS client has to be told. */
  inbox_prefix: string;
  /** Secret: the seed of its key. */
  nkey_seed: string;
}

/** Makes a durable consumer of the stream of events and a key that may read by it, and writes both down. */
export function subscribe(name: string, { filter, fromStart, out, url, json }: SubscribeFlags): Promise<void> {
  const file = out ?? `${name}.subscription.json`;
  // Looked at before anybody is let in.
  if (existsSync(file)) throw new MeshError("bad_request", `${file}: is there; name another file with --out`);
  return withClient(async (client) => {
    // The secret half is made here and never travels on the bus.
    const nkey = newUserNkey();
    const reads = filter.length === 0 ? ["*"] : filter;
    const from = fromStart === true ? "start" : "now";
    const { urls, caPem } = await addReader(client, { name, public_key: nkey.publicKey, reads, from });
    const subscription: Subscription = {
      urls: url === undefined ? urls : [url],
      ca_pem: caPem,
      stream: client.bus.subjects.auditStream,
      consumer: name,
      inbox_prefix: nkey.inbox,
      nkey_seed: new TextDecoder().decode(nkey.seed),
    };
    write(file, subscription);
    if (json === true) return printJson({ name, file, reads, from });
    print(`${file}: ${name} may read ${reads.join(", ")}; the file holds its key, so treat it as one`);
    print("docs/examples/audit-consumer reads by it in TypeScript, Go and Python");
  });
}

/** Takes a reader's key and its consumer away. */
export function unsubscribe(name: string, { reason, json }: { reason?: string; json?: boolean }): Promise<void> {
  return withClient(async (client) => {
    const { state, changed_unix_ms } = await revokeNode(client, name, reason);
    if (json === true) printJson({ name, state, changed_unix_ms });
    else print(`${name} may no longer read`);
  });
}

export function eventFilter(text: string, before: string[]): string[] {
  if (!EventFilter.safeParse(text).success)
    throw new InvalidArgumentError("TYPE or TYPE.CLASS, such as job_ended, *.P0 or audit_gap.none");
  return [...before, text];
}

function write(file: string, subscription: Subscription): void {
  try {
    writeFileSync(file, `${JSON.stringify(subscription, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  } catch (cause) {
    throw new MeshError(
      "bad_request",
      `${file}: cannot be written; take the reader back with tiermesh audit unsubscribe`,
      {
        cause,
      },
    );
  }
}
