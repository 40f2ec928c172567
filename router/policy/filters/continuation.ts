import type { Filter } from "../types.ts";

/** An answer that another node began is continued only by runtimes that can be given its beginning. */
export const continuation: Filter = {
  name: "continuation",
  reject({ view, served }, { continues }) {
    if (!continues || view.record.runtimes.some((runtime) => runtime.name === served.runtime && runtime.continues))
      return undefined;
    return `its runtime ${served.runtime} cannot go on with another's answer`;
  },
};
