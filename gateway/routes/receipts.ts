import { JobId, MeshError } from "../../bus-schemas/index.ts";
import { RECEIPTS_PATH } from "../mesh-headers.ts";
import type { RouteFactory } from "./route-def.ts";

/**
 * `GET /v1/receipts/:job`: the proof that the job's ending is in the auditor's signed log, as text (c2sp.org/tlog-proof). Right
 * after an answer it waits for it, about a second.
 */
export const receiptsRoute: RouteFactory = ({ mesh }) => ({
  method: "GET",
  path: `${RECEIPTS_PATH}*`,
  handle: async (request, reply) => {
    const id = (request.params as { "*": string })["*"];
    if (!JobId.safeParse(id).success)
      throw new MeshError("bad_request", "no job id: 8 to 64 letters, digits, _ and -", { field: "job" });
    const { receipt } = await mesh.receipt(id);
    return reply
      .header("content-type", "text/plain; charset=utf-8")
      .header("content-disposition", `attachment; filename="${id}.tlog-proof"`)
      .send(receipt);
  },
});
