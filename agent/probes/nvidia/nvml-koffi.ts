import { win32 } from "node:path";
import type { LibraryHandle } from "koffi";
import { loadKoffi } from "./koffi.ts";
import {
  check,
  FUNCTION_NOT_FOUND,
  readDevice,
  readDeviceCount,
  readDriverVersion,
  readXids,
  type NativeCall,
} from "./nvml-calls.ts";
import { XidEvents } from "./nvml-events.ts";
import type { Nvml } from "./nvml.ts";
import { StepError } from "./step.ts";

type NativeFunction = ReturnType<LibraryHandle["func"]>;

/** A library is not unloaded again: a second load would find it anyhow. */
const loaded = new Map<string, NativeCall>();

/**
 * Loads NVML through koffi and initialises it. Calls run on threads of their own, so that one that hangs holds up nothing else here.
 * @param nativeDir where a single executable puts koffi's binary
 * @param libraries where to look, best first; other ones only in tests
 * @throws StepError `absent` without a library, `broken` when it does not initialise
 */
export async function loadNvml(
  platform: NodeJS.Platform,
  env: Readonly<Record<string, string | undefined>>,
  nativeDir: string,
  libraries: readonly string[] = librariesOf(platform, env),
): Promise<Nvml> {
  const call = await openFirst(libraries, nativeDir);
  check(await call("nvmlInit_v2"), "it does not initialise");
  const events = new XidEvents(call);
  return {
    driverVersion: () => readDriverVersion(call),
    deviceCount: () => readDeviceCount(call),
    device: (index) => readDevice(call, index, events),
    xids: () => readXids(call, events),
    shutdown: async () => {
      await events.free();
      await call("nvmlShutdown");
    },
  };
}

/** Full paths on Windows, so that no nvml.dll of the current folder is loaded. WSL has the driver's library in a folder of its own. */
function librariesOf(platform: NodeJS.Platform, env: Readonly<Record<string, string | undefined>>): string[] {
  if (platform === "linux") return ["libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1"];
  if (platform !== "win32") return [];
  return [
    win32.join(env["SystemRoot"] ?? "C:\\Windows", "System32", "nvml.dll"),
    win32.join(env["ProgramFiles"] ?? "C:\\Program Files", "NVIDIA Corporation", "NVSMI", "nvml.dll"),
  ];
}

async function openFirst(libraries: readonly string[], nativeDir: string): Promise<NativeCall> {
  const koffi = await loadKoffi(nativeDir);
  for (const path of libraries) {
    try {
      const call = loaded.get(path) ?? nativeCalls(koffi.load(path));
      loaded.set(path, call);
      return call;
    } catch {
      // Not there; why is only told in the words of this system's loader.
    }
  }
  throw new StepError("absent", `no ${libraries[0] ?? "such library on this system"}`);
}

/** Finds each function at its first call. Handles are declared as integers of a pointer's size, everything else by reference. */
function nativeCalls(library: LibraryHandle): NativeCall {
  const functions = new Map<string, NativeFunction | undefined>();
  const find = (name: string, args: readonly (bigint | number | Uint8Array)[]): NativeFunction | undefined => {
    const types = args.map((arg) =>
      typeof arg === "bigint" ? "uintptr_t" : typeof arg === "number" ? "uint32_t" : "void *",
    );
    try {
      return library.func(name, "int", types);
    } catch {
      // Drivers differ in what they have.
      return undefined;
    }
  };
  return async (name, ...args) => {
    const known = functions.has(name) ? functions.get(name) : find(name, args);
    functions.set(name, known);
    if (known === undefined) return FUNCTION_NOT_FOUND;
    return new Promise<number>((resolve, reject) => {
      known.async(...args, (error: Error | null, code: number) => (error === null ? resolve(code) : reject(error)));
    });
  };
}
