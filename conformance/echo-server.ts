import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { type EchoServer, halyardServer, wsServer } from "./echo.js";

const usage = `Usage: node build/conformance/echo-server.js [options]

  --of <name>          halyard (default), halyard-pieces or ws
  --host <address>     default 127.0.0.1; 0.0.0.0 to be reached from a container
  --port <n>           default 9001
  --max-message <n>    largest message in bytes (default 16777216)
  --key, --cert <file> for wss:
`;

const { values } = parseArgs({
  options: {
    of: { type: "string", default: "halyard" },
    port: { type: "string", default: "9001" },
    "max-message": { type: "string", default: "16777216" },
    key: { type: "string" },
    cert: { type: "string" },
    host: { type: "string", default: "127.0.0.1" },
  },
});
const { of: name, key, cert } = values;
const options = {
  maxMessageSize: Number(values["max-message"]),
  host: values.host,
  ...(key && cert && { tls: { key: readFileSync(key), cert: readFileSync(cert) } }),
};
const port = Number(values.port);
const starters: Readonly<Record<string, () => Promise<EchoServer>>> = {
  halyard: () => halyardServer("whole messages", options, port),
  "halyard-pieces": () => halyardServer("piece by piece", options, port),
  ws: () => wsServer(options, port),
};
const start = Object.hasOwn(starters, name) ? starters[name] : undefined;
if (start === undefined || !(options.maxMessageSize > 0) || !Number.isInteger(port)) {
  process.stderr.write(usage);
  process.exit(2);
}
const { url } = await start();
console.log(`${name} echoes at ${url}`);
process.send?.(url);
// Started by another process, it does not outlive it.
process.on("disconnect", () => process.exit());
