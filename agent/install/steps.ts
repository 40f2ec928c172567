import { MeshError } from "../../bus-schemas/index.ts";

/** Takes back what a step did. */
export type Undo = () => Promise<void> | void;

/** One change of the machine. */
export interface Step {
  /** What it brings about, for people: "the unit /etc/…". */
  name: string;
  /** @returns how to take it back; undefined when the machine was so already */
  take(): Promise<Undo | undefined>;
}

export interface Taken {
  /** Names of the steps that changed something. */
  changed: string[];
  /** Takes all of them back, the last one first. @returns what could not be taken back */
  undo(): Promise<string[]>;
}

/**
 * Takes the steps in order; when one fails, those before it are taken back, so that the machine is as it was.
 * @throws MeshError what the step says; and what could not be taken back, if anything
 */
export async function takeSteps(steps: readonly Step[], say: (line: string) => void): Promise<Taken> {
  const undos: { name: string; undo: Undo }[] = [];
  const undoAll = async () => {
    const left: string[] = [];
    for (const { name, undo } of undos.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        left.push(`${name} (${error instanceof Error ? error.message : "unexpected error"})`);
      }
    }
    return left;
  };
  for (const step of steps) {
    try {
      const undo = await step.take();
      if (undo === undefined) continue;
      undos.push({ name: step.name, undo });
      say(step.name);
    } catch (cause) {
      const changed = undos.length > 0;
      const left = await undoAll();
      const { code, message, field } = describe(cause, step.name);
      const end =
        left.length > 0
          ? `; could not be taken back: ${left.join(", ")}`
          : changed
            ? "; the machine is as it was before"
            : "; nothing was changed";
      throw new MeshError(code, `${message}${end}`, { field, cause });
    }
  }
  return { changed: undos.map(({ name }) => name), undo: undoAll };
}

/** A failure of the system in words that say what to do. */
function describe(cause: unknown, step: string): Pick<MeshError, "code" | "message" | "field"> {
  if (cause instanceof MeshError) return cause;
  const { code, path = "", dest, message } = cause as NodeJS.ErrnoException & { dest?: string };
  // Of a copy, it is where it was to go.
  const where = dest ?? (path === "" ? step : path);
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return { code: "bad_config", message: `no space left for ${where}; free some and try again`, field: undefined };
    case "EACCES":
    case "EPERM":
      return {
        code: "forbidden",
        message: `${where}: permission denied; run as root (sudo, or an administrator's prompt)`,
        field: undefined,
      };
    case "EROFS":
      return { code: "forbidden", message: `${where} is on a read-only file system`, field: undefined };
    default:
      return { code: "internal", message: `${step}: ${message}`, field: undefined };
  }
}
