/** A real runtime's surface: what a test needs to pose as one. */
export interface Surface {
  kind: string;
  /** The path without which it cannot be known; tests break it. */
  key: string;
  model: string;
  routes: Record<string, unknown>;
  headers: Record<string, string>;
}
