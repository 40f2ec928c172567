import { isUtf8 } from "node:buffer";

/** A header's text: Node hands out its bytes as Latin-1, and most who write other letters write UTF-8. */
export function textOf(header: string): string {
  const bytes = Buffer.from(header, "latin1");
  return isUtf8(bytes) ? bytes.toString("utf8") : header;
}
