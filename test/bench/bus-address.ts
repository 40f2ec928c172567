import type { TestBus } from "../kit/bus.ts";
import type { BusAddress } from "../../service/bus.ts";

/** Variables by which a process of ours finds the bus. */
export function busEnv({ url, user, pass }: TestBus, cell = "main") {
  return { TIERMESH_NATS_URL: url, TIERMESH_NATS_USER: user, TIERMESH_NATS_PASSWORD: pass, TIERMESH_CELL: cell };
}

/** The same for `connectBus`. */
export function busAddress({ url, user, pass }: TestBus, cell = "main"): BusAddress {
  return { url, user, password: pass, cell };
}

/** In a child of a bench: where its parent said the bus is. */
export function addressFromEnv(): BusAddress {
  const { TIERMESH_NATS_URL: url = "", TIERMESH_NATS_USER: user, TIERMESH_NATS_PASSWORD: password } = process.env;
  return { url, user, password, cell: process.env["TIERMESH_CELL"] ?? "main" };
}
