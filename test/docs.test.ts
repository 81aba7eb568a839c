/**
 * The documentation holds: every `ts` block of README.md and docs/*.md compiles, every `ts run`
 * block is a server that echoes at /ws, every `ts run hub` block one with a hub at /chat whose
 * `send(user, text)` calls `message(user, text)` of all clients, links lead somewhere, and no option
 * or error code is left out.
 *
 * A block that continues the text around it gets what it refers to from a comment just above it,
 * which readers do not see: `<!-- prelude: declare const port: number; -->`.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";
import { WebSocket } from "ws";
import { resolveSocketOptions } from "#dist/engine/options.js";
import { resolveHubOptions } from "#dist/hub/options.js";
import { resolveConnectionOptions } from "#dist/transports/options.js";
import { listen, once, stop, timeLimit, withTimeout } from "./support/network.js";

interface Block {
  readonly page: string;
  /** Of the fence, counted from 1. */
  readonly line: number;
  /** What stands behind the backticks. */
  readonly info: string;
  readonly code: string;
  readonly prelude: string;
}

const typeScript = ["ts", "ts run", "ts run hub"];
const otherLanguages = ["sh", "text", "json", "html", "xml", "nginx", "haproxy"];
const workingDirectory = "build/docs";

const pages = [
  "README.md",
  ...readdirSync("docs")
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
const blocks = pages.flatMap(blocksOf);
const snippets = blocks.filter(({ info }) => typeScript.includes(info));

function blocksOf(page: string): Block[] {
  const lines = readFileSync(page, "utf8").split("\n");
  const found: Block[] = [];
  for (let start = 0; start < lines.length; start++) {
    const info = /^\s*```(.*)$/.exec(lines[start] as string)?.[1];
    if (info === undefined) continue;
    const end = lines.findIndex((line, index) => index > start && /^\s*```\s*$/.test(line));
    assert.ok(end > 0, `${page}:${start + 1}: the block has no end`);
    const code = lines.slice(start + 1, end).join("\n");
    found.push({ page, line: start + 1, info, code, prelude: preludeAbove(lines, start) });
    start = end;
  }
  return found;
}

function preludeAbove(lines: readonly string[], fence: number): string {
  const above = lines.slice(0, fence).join("\n");
  const start = above.lastIndexOf("<!-- prelude:");
  if (start < 0 || !above.endsWith("-->") || above.indexOf("-->", start) !== above.length - 3) {
    return "";
  }
  // In one line, so that the lines of the block keep their numbers.
  return above.slice(start + "<!-- prelude:".length, -3).replaceAll("\n", " ");
}

const nameOf = ({ page, line }: Block) =>
  `${page.replace(/^docs\//, "").replace(".md", "")}-${line}`;

/** Compiles all snippets in one run. @returns What the compiler says, by the name of the snippet. */
function compileSnippets(): Map<string, string> {
  rmSync(workingDirectory, { recursive: true, force: true });
  mkdirSync(join(workingDirectory, "src"), { recursive: true });
  for (const snippet of snippets) {
    const head = `export {}; ${snippet.prelude}`;
    const source = `${head}${"\n".repeat(snippet.line)}${snippet.code}\n`;
    writeFileSync(join(workingDirectory, "src", `${nameOf(snippet)}.ts`), source);
  }
  const compilerOptions = { composite: false, sourceMap: false, rootDir: "src", outDir: "out" };
  const config = { extends: "../../tsconfig.base.json", compilerOptions, include: ["src"] };
  writeFileSync(join(workingDirectory, "tsconfig.json"), JSON.stringify(config, undefined, 2));
  const compiler = spawnSync(
    process.execPath,
    ["node_modules/typescript/bin/tsc", "-p", workingDirectory, "--pretty", "false"],
    { encoding: "utf8" },
  );
  const complaints = new Map<string, string>();
  let name: string | undefined;
  for (const line of compiler.stdout.split("\n").filter((each) => each !== "")) {
    name = /src\/(.*)\.ts\(\d+,\d+\)/.exec(line)?.[1] ?? name;
    assert.ok(name !== undefined, `the compiler says: ${compiler.stdout}`);
    complaints.set(name, `${complaints.get(name) ?? ""}${line}\n`);
  }
  assert.ok(compiler.status === 0 || complaints.size > 0, compiler.stderr || "tsc failed");
  return complaints;
}

/** Starts a snippet that is a server, and talks to it. */
async function runSnippet(snippet: Block, talk: (port: number) => Promise<void>): Promise<void> {
  const port = await freePort();
  const child = spawn(process.execPath, [join(workingDirectory, "out", `${nameOf(snippet)}.js`)], {
    env: { ...process.env, PORT: String(port) },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaints = "";
  child.stderr.on("data", (chunk) => {
    complaints += chunk;
  });
  try {
    await whenAccepting(port, child, () => complaints);
    await talk(port);
  } finally {
    await end(child);
  }
  assert.equal(complaints, "");
}

async function talkToEcho(port: number): Promise<void> {
  const client = new WebSocket(`ws://127.0.0.1:${port}/ws`);
  await once(client, "open");
  client.send("hello");
  const [data] = await once(client, "message");
  assert.equal(String(data), "hello");
  client.close();
  await once(client, "close");
}

async function talkToHub(port: number): Promise<void> {
  for (const transport of [HttpTransportType.WebSockets, HttpTransportType.LongPolling]) {
    const client = new HubConnectionBuilder()
      .withUrl(`http://127.0.0.1:${port}/chat`, { transport })
      .configureLogging(LogLevel.None)
      .build();
    const message = new Promise((resolve) => {
      client.on("message", (...args) => resolve(args));
    });
    await client.start();
    await client.invoke("send", "Ann", "Ahoy");
    assert.deepEqual(await message, ["Ann", "Ahoy"]);
    await client.stop();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await stop(server);
  return port;
}

async function whenAccepting(port: number, child: ChildProcess, output: () => string) {
  for (const limit = Date.now() + timeLimit; ; await sleep(25)) {
    assert.equal(child.exitCode, null, `the server ended: ${output()}`);
    const isAccepting = await new Promise<boolean>((resolve) => {
      const probe = connect(port, "127.0.0.1", () => resolve(true));
      probe.on("connect", () => probe.destroy());
      probe.on("error", () => resolve(false));
    });
    if (isAccepting) return;
    assert.ok(Date.now() < limit, `nothing listens on port ${port}: ${output()}`);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended.catch((error) => {
    child.kill("SIGKILL");
    throw error;
  });
}

/** The name by which GitHub links to a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(/\s/g, "-");
}

function anchorsOf(page: string): string[] {
  return [...readFileSync(page, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, text]) =>
    anchorOf(text as string),
  );
}

/** The rows of options.md below a heading: defaults by the name of the option. */
function documentedOptions(heading: string): Map<string, string> {
  const text = readFileSync("docs/options.md", "utf8");
  const start = text.indexOf(`\n## ${heading}\n`);
  assert.ok(start >= 0, `docs/options.md has no heading "${heading}"`);
  const end = text.indexOf("\n## ", start + 1);
  const rows = text.slice(start, end).matchAll(/^\| `([\w.]+)` \| (.*?) \|/gm);
  // The first row of a name is its own; later ones may be about something else.
  const entries = [...rows].map(([, name, value]) => [name as string, value as string] as const);
  return new Map(entries.reverse());
}

/** Fails unless a default is documented; only numbers, flags and words can be compared. */
function assertDefault(documented: ReadonlyMap<string, string>, name: string, value: unknown) {
  const text = documented.get(name);
  assert.ok(text !== undefined, `docs/options.md has no row for ${name}`);
  const first = text.replaceAll(/(?<=\d) (?=\d)|[`"]/g, "").split(/[ ;]/)[0];
  if (value === Number.POSITIVE_INFINITY) assert.match(`${first}`, /^(0|Infinity)$/, name);
  else if (typeof value === "number") assert.equal(Number(first), value, name);
  else if (typeof value === "boolean" || typeof value === "string") assert.equal(first, `${value}`);
  else if (name.endsWith("Rate")) {
    const { perSecond, burst } = value as { perSecond: number; burst: number };
    assert.equal(text, `${perSecond} per second, ${burst} at once`, name);
  }
}

/** The members of an interface in the source, with those it picks from another. */
function membersOf(file: string, name: string): string[] {
  const text = readFileSync(file, "utf8");
  const start = text.search(new RegExp(`^export interface ${name}\\b`, "m"));
  assert.ok(start >= 0, `${file} has no interface ${name}`);
  const body = text.slice(start, text.indexOf("\n}\n", start));
  const [head = "", ...rest] = body.split("{\n");
  const picked = /Pick<\w+,([^>]*)>/.exec(head)?.[1]?.match(/\w+/g) ?? [];
  const own = rest.join("{\n").matchAll(/^ {2}readonly (\w+)\??:/gm);
  return [...picked, ...[...own].map(([, member]) => member as string)];
}

describe("documentation", () => {
  let complaints: Map<string, string>;

  before(() => {
    complaints = compileSnippets();
  });

  it("marks every block with a language that this test knows", () => {
    const known = [...typeScript, ...otherLanguages];
    const unknown = blocks.filter(({ info }) => !known.includes(info));
    assert.deepEqual(
      unknown.map(({ page, line, info }) => `${page}:${line}: ${info}`),
      [],
    );
  });

  for (const snippet of snippets) {
    const where = `${snippet.page}:${snippet.line}`;
    it(`${where} compiles`, () => {
      const complaint = complaints.get(nameOf(snippet));
      if (complaint !== undefined) assert.fail(complaint);
    });
    if (snippet.info === "ts run") {
      it(`${where} runs and echoes`, () =>
        withTimeout(runSnippet(snippet, talkToEcho), 2 * timeLimit));
    }
    if (snippet.info === "ts run hub") {
      it(`${where} runs and has a hub`, () =>
        withTimeout(runSnippet(snippet, talkToHub), 2 * timeLimit));
    }
  }

  for (const framework of ["node:http", "Koa", "Express", "Fastify", "Hono"]) {
    it(`runs the first block about ${framework}`, () => {
      const page = "docs/frameworks.md";
      const lines = readFileSync(page, "utf8").split("\n");
      const heading = lines.indexOf(`## ${framework}`);
      assert.ok(heading >= 0, `${page} has no heading "${framework}"`);
      const first = snippets.find((each) => each.page === page && each.line > heading);
      assert.equal(first?.info, "ts run");
    });
  }

  for (const page of pages) {
    it(`${page} has no dead links`, () => {
      const text = readFileSync(page, "utf8").replaceAll(/^```[\s\S]*?^```/gm, "");
      for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) continue;
        const [path = "", anchor] = target.split("#");
        const file = path === "" ? page : join(dirname(page), path);
        assert.ok(existsSync(file), `${target}: no such file`);
        if (anchor) assert.ok(anchorsOf(file).includes(anchor), `${target}: no such heading`);
      }
    });
  }

  it("names every option of a socket with its default", () => {
    const documented = documentedOptions("Options of a socket");
    for (const [name, value] of Object.entries(resolveSocketOptions({}))) {
      assertDefault(documented, name, value);
    }
  });

  it("names every option of a hub with its default, and no other", () => {
    const documented = documentedOptions("Options of a hub");
    assert.deepEqual(
      [...documented.keys()].sort(),
      membersOf("src/hub/options.ts", "HubOptions").sort(),
    );
    for (const [name, value] of Object.entries(resolveHubOptions())) {
      assertDefault(documented, name, value);
    }
  });

  it("names every option of a hub's path with its default, and no other", () => {
    const documented = documentedOptions("Options of a hub's path");
    const file = "src/transports/options.ts";
    const groups = { webSockets: "WebSocketTransportOptions", longPolling: "LongPollingOptions" };
    const existing = membersOf(file, "ConnectionOptions").flatMap((name) => {
      const group = groups[name as keyof typeof groups];
      if (group === undefined) return [name];
      return membersOf(file, group).map((member) => `${name}.${member}`);
    });
    assert.deepEqual([...documented.keys()].sort(), existing.sort());
    const { webSockets, longPolling, ...resolved } = resolveConnectionOptions({});
    for (const [name, value] of Object.entries(resolved)) assertDefault(documented, name, value);
    const sockets = { ...resolveSocketOptions({}), ...webSockets };
    for (const name of ["closeTimeout", "keepAliveInterval", "keepAliveTimeout"] as const) {
      assertDefault(documented, `webSockets.${name}`, sockets[name]);
    }
    assertDefault(documented, "longPolling.pollTimeout", longPolling.pollTimeout);
  });

  it("names every error code and no other", () => {
    // What is only compared with is Node's.
    const codesIn = (text: string) => new Set(text.match(/(?<!=== ")\bERR_[A-Z0-9_]+\b/g));
    const source = readdirSync("src", { recursive: true })
      .map(String)
      .filter((name) => name.endsWith(".ts"))
      .map((name) => readFileSync(join("src", name), "utf8"))
      .join("\n");
    const documented = codesIn(readFileSync("docs/errors.md", "utf8"));
    const existing = codesIn(source);
    const missing = [...existing].filter((code) => !documented.has(code));
    const unknown = [...documented].filter((code) => !existing.has(code));
    assert.deepEqual({ missing, unknown }, { missing: [], unknown: [] });
  });
});
