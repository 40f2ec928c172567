import { capabilitiesOf } from "./capabilities.ts";
import type { RuntimeKind } from "./kind.ts";

/** The child process of agent/embedded, as it reports itself when ready. */
export interface EmbeddedServer {
  /** `http://127.0.0.1:<port>` */
  baseUrl: string;
  /** Bearer token without which it answers nobody. */
  token: string;
  /** Model as its /v1/models spells it. */
  model: string;
  contextLength: number;
  parallelSlots: number;
  /** `sha256:…` of the model's file, where it is the pinned one. */
  digest?: string | undefined;
}

/** The mesh's own embedded runtime, known by `owned_by: "tiermesh-embedded"`; what it serves we know, since we started it. */
export function embeddedRuntime(server: EmbeddedServer): RuntimeKind {
  return {
    kind: "embedded",
    alivePath: "/v1/models",
    continuation: {},
    defaultPorts: [],
    onePerMachine: true,
    async find(probe, signal) {
      const list = await probe.openAiModels(signal);
      if (
        list === undefined ||
        !list.some((model) => model["owned_by"] === "tiermesh-embedded" && model["id"] === server.model)
      )
        return undefined;
      const capabilities = capabilitiesOf(server.model);
      const model = {
        name: server.model,
        loaded: true,
        contextLengthTokens: server.contextLength,
        capabilities,
        sizeBytes: null,
        digest: server.digest,
      };
      return { version: null, healthy: true, slots: server.parallelSlots, models: [model] };
    },
  };
}
