/**
 * node:http as `require` gives it. An import reads each of its exports once, and two of them load HTTP/2 and a second HTTP client:
 * in every thread that imports it 10 MB that nobody uses (Node 24).
 */
export const plainHttp = process.getBuiltinModule("node:http");
