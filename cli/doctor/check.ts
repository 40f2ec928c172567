/** What a check found: `warn` works with less, `fail` does not work; `todo` says what helps. */
export interface Finding {
  level: "ok" | "warn" | "fail";
  says: string;
  todo?: string;
}

/** One thing that `tiermesh doctor` looks at: one file or one entry here, one line in index.ts. */
export interface Check {
  name: string;
  check(env: NodeJS.ProcessEnv): Promise<Finding>;
}
