/** MeshClient for people's own programs; gateway and cli use nothing else. */
export { MeshClient, type CallOptions, type ConnectOptions } from "./mesh-client.ts";
export { isNoResponder } from "./attempt.ts";
export { type EnqueueOptions } from "./durable.ts";
export { type IdentityOptions } from "./identity.ts";
export { SaltKeeper } from "../service/salts.ts";
export { NodeWatcher, takesJobs, type SeenNode, type SeenState } from "./nodes.ts";
