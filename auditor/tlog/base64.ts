const STANDARD = /^[A-Za-z0-9+/]*={0,2}$/;

/**
 * Standard base64 with padding (RFC 4648, section 4), only in its one canonical spelling, so that no byte of a signed text
 * can be changed without being seen. Undefined for anything else.
 */
export function decodeBase64(text: string): Buffer | undefined {
  if (!STANDARD.test(text)) return undefined;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}
