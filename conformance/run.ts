import process from "node:process";
import { parseArgs } from "node:util";
import { connectRaw } from "./raw-client.js";
import { casesFor, runCases } from "./suite.js";

const usage = `Usage: node build/conformance/run.js <ws URL of an echo server> [options]

  --only <ids>         cases or groups, with commas between: 6, 7.3, 5.1.4
  --max-message <n>    the server's message limit in bytes, or "none" (default 1048576)
  --concurrency <n>    cases at a time (default 8)
  --failures           print only the cases that failed
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string" },
    "max-message": { type: "string", default: "1048576" },
    concurrency: { type: "string", default: "8" },
    failures: { type: "boolean", default: false },
  },
});
const [url] = positionals;
const limit = values["max-message"];
const maxMessageSize = limit === "none" ? Number.POSITIVE_INFINITY : Number(limit);
const concurrency = Number(values.concurrency);
if (
  url === undefined ||
  positionals.length > 1 ||
  !(maxMessageSize > 0) ||
  !Number.isInteger(concurrency) ||
  concurrency < 1
) {
  process.stderr.write(usage);
  process.exit(2);
}

let passed = 0;
let failed = 0;
const cases = casesFor({ maxMessageSize }, values.only?.split(","));
await runCases(cases, () => connectRaw(url), {
  concurrency,
  report: ({ case: { id, title, section }, failure }) => {
    if (failure === undefined) passed++;
    else failed++;
    if (failure === undefined && values.failures) return;
    console.log(`${failure ? "FAIL" : "pass"}  ${id.padEnd(8)} ${title}  [${section}]`);
    if (failure !== undefined) console.log(`      ${failure.message.split("\n", 1)[0]}`);
  },
});
console.log(`${passed} passed, ${failed} failed`);
// No case at all, for example behind a mistyped --only, is no success.
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
