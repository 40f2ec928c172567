import type { Filter } from "../types.ts";

/** The loopback echo only shows that the mesh works: it runs a job when no real model fits it anywhere. */
export const diagnostic: Filter = {
  name: "diagnostic",
  reject: (option, _request, { diagnosticAllowed }) =>
    option.diagnostic && !diagnosticAllowed ? "is a diagnostic echo, and a real model fits the job" : undefined,
};
