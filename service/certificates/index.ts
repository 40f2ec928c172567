export { checkGiven, describeCertificate, RENEW_BEFORE_MS } from "./check.ts";
export { ensureCertificates } from "./ensure.ts";
export { issueServer, makeAuthority } from "./issue.ts";
