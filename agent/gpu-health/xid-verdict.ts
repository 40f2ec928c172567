/**
 * Xid errors after which a card is still well: those that a program brings on itself (the list that NVIDIA's own k8s-device-plugin
 * ignores in its health check, internal/rm/health.go: 13, 31, 43, 45, 68, 109), and those that only tell what the card has got over:
 * 63 a row of its memory is to be replaced at the next reset, 92 many single bits were corrected, 94 an error that cost only the program
 * that met it (docs.nvidia.com/deploy/xid-errors).
 */
const HARMLESS: ReadonlySet<number> = new Set([13, 31, 43, 45, 63, 68, 92, 94, 109]);

/** What is told of those that are met most, in the words of NVIDIA's list of Xid errors. */
const WORDS: Readonly<Record<number, string>> = {
  48: "double bit ECC error",
  62: "internal micro-controller halt",
  64: "a row of its memory could not be replaced",
  74: "NVLink error",
  79: "it has fallen off the bus",
  95: "uncontained ECC error",
  119: "its system processor (GSP) does not answer",
  120: "its system processor (GSP) failed",
  140: "unrecovered ECC error",
  143: "it could not be initialised",
};

/** Why a card with this Xid error is sick; undefined when it is well all the same. An unknown number counts as sick, as NVIDIA's plugin has it. */
export function xidVerdict(xid: number): string | undefined {
  if (HARMLESS.has(xid)) return undefined;
  return `Xid ${xid}${WORDS[xid] === undefined ? "" : `: ${WORDS[xid]}`}`;
}
