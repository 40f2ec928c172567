/**
 * Reads events of a Tiermesh by the file that `tiermesh audit subscribe` wrote, and prints a line for each.
 *
 *   npm install @nats-io/transport-node @nats-io/jetstream
 *   node consumer.ts siem-1.subscription.json [COUNT]
 *
 * An event is acknowledged when it was handled: what is not comes again. The same event may come twice; its id tells.
 */
import { readFileSync } from "node:fs";
import { jetstream } from "@nats-io/jetstream";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";

interface Subscription {
  urls: string[];
  ca_pem: string | null;
  stream: string;
  consumer: string;
  inbox_prefix: string;
  nkey_seed: string;
}

const [file = "", count = "Infinity"] = process.argv.slice(2);
const read = JSON.parse(readFileSync(file, "utf8")) as Subscription;
const bus = await connect({
  servers: read.urls,
  authenticator: nkeyAuthenticator(new TextEncoder().encode(read.nkey_seed)),
  inboxPrefix: read.inbox_prefix,
  ...(read.ca_pem === null ? {} : { tls: { ca: read.ca_pem } }),
});
const consumer = await jetstream(bus).consumers.get(read.stream, read.consumer);
const events = await consumer.consume();
let left = Number(count);
for await (const event of events) {
  // mesh.<cell>.event.<type>.<class>.<process>.<name>
  const [, , , type, dataClass, process_, name] = event.subject.split(".");
  const { job_id: job } = event.json<{ job_id?: string }>();
  const id = event.headers?.get("ce-id");
  process.stdout.write(
    `${event.headers?.get("ce-time")} ${type} ${dataClass} ${process_}/${name} ${job ?? "-"} ${id}\n`,
  );
  event.ack();
  if (--left <= 0) break;
}
await bus.drain();
