import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { connectRaw } from "./raw-client.js";
import { RawServer } from "./raw-server.js";
import { type Connect, casesFor, runCases } from "./suite.js";

const usage = `Usage: node build/conformance/run.js <ws or wss URL of an echo server> [options]
       node build/conformance/run.js --listen <port> [options]

  --listen <port>      plays the server, against a client that echoes
  --key, --cert <file> with --listen: for wss:
  --only <ids>         cases or groups, with commas between: 6, 7.3, 5.1.4
  --max-message <n>    the message limit of what is tested in bytes, or "none" (default 1048576)
  --concurrency <n>    cases at a time (default 8; with --listen, 1)
  --failures           print only the cases that failed
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    listen: { type: "string" },
    key: { type: "string" },
    cert: { type: "string" },
    only: { type: "string" },
    "max-message": { type: "string", default: "1048576" },
    concurrency: { type: "string" },
    failures: { type: "boolean", default: false },
  },
});
const [url] = positionals;
const role = values.listen === undefined ? "server" : "client";
const limit = values["max-message"];
const maxMessageSize = limit === "none" ? Number.POSITIVE_INFINITY : Number(limit);
const concurrency = Number(values.concurrency ?? (role === "server" ? 8 : 1));
const port = Number(values.listen ?? 0);
if (
  positionals.length !== (role === "server" ? 1 : 0) ||
  !(maxMessageSize > 0) ||
  !Number.isInteger(concurrency) ||
  concurrency < 1 ||
  !Number.isInteger(port)
) {
  process.stderr.write(usage);
  process.exit(2);
}

const cases = casesFor({ role, maxMessageSize }, values.only?.split(","));
let server: RawServer | undefined;
if (role === "client") {
  const { key, cert } = values;
  const tls = key && cert ? { key: readFileSync(key), cert: readFileSync(cert) } : undefined;
  server = await RawServer.listen(port, tls);
  const scheme = tls ? "wss" : "ws";
  console.log(`${cases.length} cases wait at ${scheme}://127.0.0.1:${server.port}/`);
}
const connect: Connect = server?.connect ?? ((deflate) => connectRaw(String(url), { deflate }));

const counts = { pass: 0, FAIL: 0, left: 0 };
await runCases(cases, connect, {
  concurrency,
  report: ({ case: { id, title, section }, failure, leftOut }) => {
    const outcome = failure ? "FAIL" : leftOut ? "left" : "pass";
    counts[outcome]++;
    if (outcome !== "FAIL" && values.failures) return;
    console.log(`${outcome}  ${id.padEnd(8)} ${title}  [${section}]`);
    const why = failure?.message.split("\n", 1)[0] ?? leftOut;
    if (why !== undefined) console.log(`      ${why}`);
  },
});
server?.close();
console.log(`${counts.pass} passed, ${counts.FAIL} failed, ${counts.left} left out`);
// No case at all, for example behind a mistyped --only, is no success.
process.exitCode = counts.FAIL === 0 && counts.pass > 0 ? 0 : 1;
