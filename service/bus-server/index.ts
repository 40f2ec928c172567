export { type EmbeddedBus, PortHeldError, startEmbeddedBus } from "./embedded.ts";
export { obtainNatsServer } from "./obtain.ts";
export { describeHolder, whoHoldsPort } from "./port-holder.ts";
export { replaceFile } from "./reload.ts";
export {
  busFiles,
  canSyncAlways,
  renderConfig,
  serverTag,
  type ClusterOptions,
  MAX_PAYLOAD_BYTES,
  type TlsFiles,
} from "./server-config.ts";
export { changeStorageKey, forgetFormerKey, keptStorageKey, type StorageKey } from "./storage-key.ts";
export { PINNED_VERSION } from "./server-version.ts";
