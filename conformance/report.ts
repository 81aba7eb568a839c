/** Runs the suite against Halyard and `ws`, both ends of each, and writes `RESULTS.md`. */

import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { ConnectOptions } from "halyard";
import { type EchoClient, halyardClient, holdSession, wsClient } from "./echo.js";
import type { Role } from "./frames.js";
import { connectRaw } from "./raw-client.js";
import { RawServer } from "./raw-server.js";
import { selfSigned } from "./self-signed.js";
import { type CaseResult, type Connect, casesFor, runCases } from "./suite.js";

const maxMessageSize = 16 * 1024 * 1024;
/** The sources lie beside `build/`. */
const source = (name: string) => new URL(`../../conformance/${name}`, import.meta.url);

const themes: Readonly<Record<string, string>> = {
  1: "framing",
  2: "pings and pongs",
  3: "reserved bits",
  4: "reserved opcodes",
  5: "fragmentation",
  6: "UTF-8",
  7: "closing",
  9: "limits and large messages",
  10: "automatic fragmentation",
  12: "compression",
  13: "compression: parameters",
};

/** Why a case deviates: by subject, then by the case's id or the beginning of it. */
type Explanations = Readonly<Record<string, Readonly<Record<string, string>>>>;
const explanations: Explanations = JSON.parse(readFileSync(source("deviations.json"), "utf8"));

interface Subject {
  /** The column's heading. */
  readonly title: string;
  /** The name in `deviations.json`. */
  readonly name: string;
  readonly role: Role;
  run(report: (result: CaseResult) => void): Promise<void>;
}

/** A server in a process of its own. */
function server(title: string, name: string): Subject {
  return {
    title,
    name: name.replace(/-pieces$/, ""),
    role: "server",
    async run(report) {
      const script = fileURLToPath(new URL("echo-server.js", import.meta.url));
      const child = fork(script, [
        ...["--of", name, "--port", "0", "--max-message", String(maxMessageSize)],
      ]);
      const [url] = (await once(child, "message")) as [string];
      await runAll("server", (deflate) => connectRaw(url, { deflate }), report);
      child.disconnect();
    },
  };
}

function client(
  title: string,
  name: string,
  echo: EchoClient,
  { scheme = "ws", listen = () => RawServer.listen(0) } = {},
): Subject {
  return {
    title,
    name,
    role: "client",
    async run(report) {
      const raw = await listen();
      const connect: Connect = (deflate) => {
        const connection = raw.connect(deflate);
        echo(`${scheme}://127.0.0.1:${raw.port}/`).catch(() => {});
        return connection;
      };
      await runAll("client", connect, report);
      raw.destroy();
    },
  };
}

async function runAll(
  role: Role,
  connect: Connect,
  report: (result: CaseResult) => void,
): Promise<void> {
  // Two at a time: several messages of 16 MiB compressed at once take their time.
  await runCases(casesFor({ role, maxMessageSize }), connect, { concurrency: 2, report });
}

const halyardOptions = { maxMessageSize, compression: true };
const tls = selfSigned();
const overTls = { scheme: "wss", listen: () => RawServer.listen(0, tls) };
const http2Options = { ...halyardOptions, http2: true };
const overHttp2 = {
  async listen() {
    const raw = await RawServer.listenHttp2(0);
    await holdSession(raw, http2Options);
    return raw;
  },
};
const halyardClientWith = (options: ConnectOptions) =>
  halyardClient("whole messages", { ...halyardOptions, ...options });
const subjects: readonly Subject[] = [
  server("Halyard", "halyard"),
  server("Halyard, piecewise", "halyard-pieces"),
  server("ws", "ws"),
  client("Halyard client", "halyard", halyardClient("whole messages", halyardOptions)),
  client("Halyard client, piecewise", "halyard", halyardClient("piece by piece", halyardOptions)),
  client("Halyard client, TLS", "halyard", halyardClientWith({ tls: { ca: tls.cert } }), overTls),
  client("Halyard client, HTTP/2", "halyard", halyardClientWith(http2Options), overHttp2),
  client("ws client", "ws", wsClient(maxMessageSize)),
];

const results = new Map<Subject, CaseResult[]>();
for (const subject of subjects) {
  const list: CaseResult[] = [];
  results.set(subject, list);
  process.stdout.write(`${subject.title} … `);
  await subject.run((result) => list.push(result));
  const failed = list.filter(({ failure }) => failure).length;
  const leftOut = list.filter(({ leftOut }) => leftOut).length;
  console.log(`${list.length - failed - leftOut} passed, ${failed} failed, ${leftOut} left out`);
}

const isPassed = ({ failure, leftOut }: CaseResult) =>
  failure === undefined && leftOut === undefined;
const row = (...cells: string[]) => `| ${cells.join(" | ")} |`;
const cellOf = (text: string) => text.replaceAll("|", "\\|").replaceAll("<", "&lt;");

function summary(): string[] {
  const ofGroup = (list: readonly CaseResult[], group: string) =>
    list.filter(({ case: { id } }) => id.startsWith(`${group}.`));
  const cell = (list: readonly CaseResult[]) => `${list.filter(isPassed).length} / ${list.length}`;
  // Integer keys are in their order.
  const lines = Object.entries(themes).map(([group, theme]) =>
    row(group, theme, ...[...results.values()].map((list) => cell(ofGroup(list, group)))),
  );
  return [
    row("group", "theme", ...subjects.map(({ title }) => title)),
    row(...["--:", "---", ...subjects.map(() => "--:")]),
    ...lines,
    row("", "**all**", ...[...results.values()].map((list) => `**${cell(list)}**`)),
  ];
}

function explanationOf(name: string, id: string): string {
  const ofSubject = explanations[name] ?? {};
  const parts = id.split(".");
  for (let length = parts.length; length > 0; length--) {
    const text = ofSubject[parts.slice(0, length).join(".")];
    if (text !== undefined) return text;
  }
  return "**not explained yet**";
}

function deviations(): string[] {
  const lines: string[] = [];
  for (const [{ title, name }, list] of results) {
    const deviating = list.filter((result) => !isPassed(result));
    lines.push("", `### ${title}`, "");
    if (deviating.length === 0) {
      lines.push("None.");
      continue;
    }
    lines.push(row("case", "title", "outcome", "explanation"), row("---", "---", "---", "---"));
    for (const { case: each, failure, leftOut } of deviating) {
      const outcome = failure?.message.split("\n", 1)[0] ?? `left out: ${leftOut}`;
      lines.push(row(each.id, cellOf(each.title), cellOf(outcome), explanationOf(name, each.id)));
    }
  }
  return lines;
}

/** Every case once, with what became of it in each column. */
function everyCase(): string[] {
  const byId = new Map<string, { title: string; section: string; outcomes: string[] }>();
  for (const [column, list] of [...results.values()].entries()) {
    for (const result of list) {
      const { id, title, section } = result.case;
      const entry = byId.get(id) ?? { title, section, outcomes: subjects.map(() => "") };
      byId.set(id, entry);
      entry.outcomes[column] = result.failure ? "**fail**" : result.leftOut ? "left out" : "pass";
    }
  }
  const order = (a: string, b: string) => a.localeCompare(b, "en", { numeric: true });
  return [
    row("case", "title", "section", ...subjects.map(({ title }) => title)),
    row("---", "---", "---", ...subjects.map(() => "---")),
    ...[...byId]
      .toSorted(([a], [b]) => order(a, b))
      .map(([id, { title, section, outcomes }]) => row(id, cellOf(title), section, ...outcomes)),
  ];
}

const { version } = createRequire(import.meta.url)("ws/package.json") as { version: string };
const text = [
  "# Results of the conformance suite",
  "",
  "Written by `node build/conformance/report.js`; explanations are in `deviations.json`.",
  "",
  `- Node ${process.version} on ${process.platform} ${process.arch}; ws ${version}`,
  "- Message limit 16 MiB (`maxMessageSize`, `maxPayload`), so that the large messages are in.",
  "- Compression on (`compression: true`, `perMessageDeflate: true`), all else at its default.",
  "- An empty cell: the case makes no sense against that end. Left out: the other end declined what",
  "  the case is about, as it may.",
  "",
  "## By group",
  "",
  "Cases passed, of the cases played against that end.",
  "",
  ...summary(),
  "",
  "## Deviations",
  ...deviations(),
  "",
  "## Every case",
  "",
  ...everyCase(),
  "",
].join("\n");
writeFileSync(source("RESULTS.md"), text);
const unexplained = text.split("**not explained yet**").length - 1;
console.log(`conformance/RESULTS.md is written; deviations without an explanation: ${unexplained}`);
process.exitCode = unexplained === 0 ? 0 : 1;
