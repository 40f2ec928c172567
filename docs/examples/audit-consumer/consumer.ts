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
for (let left = Number(count); left > 0;) {
  // No more than will be handled: what was fetched and not acknowledged comes again only after half a minute.
  const batch = await consumer.fetch({ max_messages: Math.min(100, left), expires: 5000 });
  for await (const event of batch) {
    // mesh.<cell>.event.<type>.<class>.<process>.<name>
    const [, , , type, dataClass, kind, name] = event.subject.split(".");
    const { job_id: job } = event.json<{ job_id?: string }>();
    const time = event.headers?.get("ce-time");
    const id = event.headers?.get("ce-id");
    process.stdout.write(`${time} ${type} ${dataClass} ${kind}/${name} ${job ?? "-"} ${id}\n`);
    event.ack();
    left--;
  }
}
await bus.drain();
