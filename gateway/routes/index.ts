import { chatCompletionsRoute } from "./chat-completions.ts";
import { completionsRoute } from "./completions.ts";
import { embeddingsRoute } from "./embeddings.ts";
import { healthRoute } from "./health.ts";
import { metricsRoute } from "./metrics.ts";
import { modelRoute, modelsRoute } from "./models.ts";
import { receiptsRoute } from "./receipts.ts";
import { rerankRoute } from "./rerank.ts";
import type { RouteFactory } from "./route-def.ts";
import { routeRoute } from "./route.ts";

/** Every path of the gateway. Adding one is one file and one line here. */
export const ROUTES: readonly RouteFactory[] = [
  healthRoute,
  metricsRoute,
  routeRoute,
  modelsRoute,
  modelRoute,
  chatCompletionsRoute,
  completionsRoute,
  embeddingsRoute,
  rerankRoute,
  receiptsRoute,
];
