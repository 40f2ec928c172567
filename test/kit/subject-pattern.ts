/** NATS's rules of wildcards, for tests that do not want to ask the server that they test. */

/** Whether a message on `subject`, which has no wildcards, is one of `pattern`. */
export function matches(pattern: string, subject: string): boolean {
  return covers(pattern, subject);
}

/** Whether all that `inner` matches is matched by `outer`: both may have `*` and a final `>`. */
export function covers(outer: string, inner: string): boolean {
  const [wide, narrow] = [outer.split("."), inner.split(".")];
  for (const [i, token] of wide.entries()) {
    const other = narrow[i];
    if (other === undefined) return false;
    if (token === ">") return true;
    if (other === ">" || (token !== "*" && token !== other)) return false;
  }
  return wide.length === narrow.length;
}
