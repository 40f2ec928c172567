/**
 * Closes a hole of transport-node 3.4.0. The server greets in clear, then TLS begins on the same socket; the library keeps
 * all bytes that came with the greeting and, once TLS is up, takes them for what the checked server said. Whoever sits on
 * the wire could so slip forged messages to the subscriptions of a client that returns (test/integration/tls.test.ts does).
 * Here a connection on which more than the greeting came is given up instead. Goes when the library does this itself.
 */
import { NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";

/** What the error says; it reads as the end of a sentence about the bus. */
export const EARLY_BYTES = "bytes came in clear after the greeting";

const startTls = NodeTransport.prototype.startTLS;

NodeTransport.prototype.startTLS = async function (this: NodeTransport) {
  refuseEarlyBytes(Buffer.concat(this.yields));
  return startTls.call(this);
};

/** @throws Error `EARLY_BYTES` unless the text ends with its first line. */
export function refuseEarlyBytes(greeting: Buffer): void {
  if (greeting.indexOf("\r\n") !== greeting.length - 2) throw new Error(EARLY_BYTES);
}
