// Child processes: pinned to a core each, never outliving the run, measured by the kernel's books.

import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import process from "node:process";
import { createInterface } from "node:readline";

const canPin = availableParallelism() > 1 && spawnSync("taskset", ["--version"]).status === 0;
export const pinning = canPin ? "server on core 0, generator on core 1" : "not pinned";

/** The unit of time in /proc/<pid>/stat. */
const ticksPerSecond = Number(spawnSync("getconf", ["CLK_TCK"]).stdout) || 100;

/** @type {Set<import("node:child_process").ChildProcess>} */
const children = new Set();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

/** A child that talks in lines. */
class Child {
  #child;
  #lines = [];
  #waiting;
  #errors = "";
  #name;

  constructor(name, core, [command, ...args], env) {
    const pinned = canPin ? ["taskset", "-c", String(core), command, ...args] : [command, ...args];
    this.#name = name;
    this.#child = spawn(pinned[0], pinned.slice(1), {
      env: { ...process.env, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    children.add(this.#child);
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#settle(line));
    this.#child.stderr.on("data", (text) => {
      this.#errors = `${this.#errors}${text}`.slice(-2000);
    });
    this.#child.stdin.on("error", () => {});
    this.#child.on("error", () => this.#settle(null));
    this.#child.on("close", () => {
      children.delete(this.#child);
      this.#settle(null);
    });
  }

  get pid() {
    return /** @type {number} */ (this.#child.pid);
  }

  #settle(line) {
    if (this.#waiting === undefined) this.#lines.push(line);
    else this.#waiting(line);
  }

  send(line) {
    this.#child.stdin.write(`${line}\n`);
  }

  signal(name) {
    this.#child.kill(name);
  }

  /** The next line. @param {number} patience - In milliseconds. */
  async line(patience) {
    let line = this.#lines.shift();
    if (line === undefined) {
      let timer;
      line = await new Promise((resolve) => {
        this.#waiting = resolve;
        timer = setTimeout(resolve, patience, undefined);
      });
      clearTimeout(timer);
      this.#waiting = undefined;
    }
    if (typeof line === "string") return line;
    const what = line === null ? "ended" : `said nothing for ${patience} ms`;
    throw new Error(`${this.#name} ${what}. ${this.#errors.trim()}`.trim());
  }

  async stop() {
    if (!children.has(this.#child)) return;
    const gone = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 2000);
    await gone;
    clearTimeout(timer);
  }
}

export class Server extends Child {
  port = 0;

  /** Starts a server and waits until it listens. */
  static async start(name, command, env) {
    const server = new Server(name, 0, command, env);
    try {
      const line = await server.line(20_000);
      server.port = Number(/^listening (\d+)$/.exec(line)?.[1]);
      if (!server.port) throw new Error(`${name} said: ${line}`);
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** CPU time of all its threads so far, in seconds. */
  cpuSeconds() {
    const stat = readFileSync(`/proc/${this.pid}/stat`, "latin1");
    // The name of the command, in parentheses, may contain anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  }

  /** What its collector manages, after a collection, in bytes. */
  async heapBytes() {
    this.send("heap");
    const line = await this.line(20_000);
    const bytes = Number(/^heap (\d+)$/.exec(line)?.[1]);
    if (!(bytes > 0)) throw new Error(`Asked for its heap, a server said: ${line}`);
    return bytes;
  }

  /** Memory in RAM, in bytes. */
  residentBytes() {
    const status = readFileSync(`/proc/${this.pid}/status`, "latin1");
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  }
}

export class Generator extends Child {
  constructor(command, job) {
    super("The generator", 1, [...command, JSON.stringify(job)], {});
  }

  /** One command and its answer. */
  async do(command, patience = 30_000) {
    this.send(command);
    const answer = JSON.parse(await this.line(patience));
    if (answer.error) throw new Error(answer.error);
    return answer;
  }
}
