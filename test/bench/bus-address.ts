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

/** In a child of a bench: where its parent said the bus is; an empty variable says nothing, as for our processes. */
export function addressFromEnv(): BusAddress {
  const said = (name: string) => process.env[name] || undefined;
  return {
    url: said("TIERMESH_NATS_URL") ?? "",
    user: said("TIERMESH_NATS_USER"),
    password: said("TIERMESH_NATS_PASSWORD"),
    cell: said("TIERMESH_CELL") ?? "main",
  };
}
