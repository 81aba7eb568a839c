/** What a case is and how a suite of them is run against a server. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { timeLimit, withTimeout } from "../../support/network.js";

/** A server with the test application. */
export interface Target {
  readonly name: "ASP.NET Core" | "Halyard";
  /** Without a slash at the end. */
  readonly baseUrl: string;
  /** The same over TLS, with a certificate that nobody knows. */
  readonly secureBaseUrl: string;
  /** Starts one more, for cases in which the server goes down. */
  startAnother(): Promise<Target>;
  /** As an operator would stop it: open connections are told or dropped. */
  stop(): Promise<void>;
}

/** Where Halyard does on purpose what ASP.NET Core does not; a row of docs/signalr-differences.md. */
export interface Difference {
  readonly situation: string;
  readonly aspNetCore: string;
  readonly halyard: string;
  readonly why: string;
}

export interface Case {
  readonly title: string;
  /** Set when the expectation is not the same for both. */
  readonly differs?: Difference;
  /** For cases that wait for the server's clocks. */
  readonly timeLimit?: number;
  run(scene: Scene): Promise<void>;
}

export interface Group {
  /** With the section of the protocol reference. */
  readonly title: string;
  readonly cases: readonly Case[];
  /** How many cases run at a time. */
  readonly concurrency?: number;
}

/** What a case gets: the server, and what to clean up. */
export class Scene {
  readonly target: Target;
  readonly #case: Case;
  readonly #cleanups: (() => unknown)[] = [];
  #hasPicked = false;

  constructor(target: Target, each: Case) {
    this.target = target;
    this.#case = each;
  }

  /** The address of a path. */
  url(path: string): string {
    return `${this.target.baseUrl}${path}`;
  }

  /** The same case on another server; it is cleaned up with this one. */
  on(target: Target): Scene {
    const other = new Scene(target, this.#case);
    this.defer(() => other.#cleanUp());
    return other;
  }

  /** What to expect of this server, in a case that says why it differs. */
  expected<T>(expectation: { aspNetCore: T; halyard: T }): T {
    assert.ok(this.#case.differs, `"${this.#case.title}" does not say why the servers differ`);
    this.#hasPicked = true;
    return this.target.name === "Halyard" ? expectation.halyard : expectation.aspNetCore;
  }

  /** Runs `cleanup` after the case, whatever becomes of it. */
  defer(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  async play(): Promise<void> {
    try {
      const limit = this.#case.timeLimit ?? timeLimit;
      await withTimeout(this.#case.run(this), limit, this.#case.title);
      const isToDiffer = this.#case.differs !== undefined;
      assert.equal(this.#hasPicked, isToDiffer, "a case that differs has two expectations");
    } finally {
      await this.#cleanUp();
    }
  }

  async #cleanUp(): Promise<void> {
    for (const cleanup of this.#cleanups.reverse()) {
      await withTimeout(Promise.resolve(cleanup()), timeLimit, "cleaning up");
    }
  }
}

/** Registers every case of the groups as a test against the server. */
export function playAll(groups: readonly Group[], target: Target): void {
  // Much of the time is waiting for clocks.
  describe(`on ${target.name}`, { concurrency: 3 }, () => {
    for (const { title, cases, concurrency = 6 } of groups) {
      describe(title, { concurrency }, () => {
        for (const each of cases) it(each.title, () => new Scene(target, each).play());
      });
    }
  });
}

/** A text from an ordinary GET. */
export async function getText(scene: Scene, path: string): Promise<string> {
  const response = await fetch(scene.url(path));
  assert.equal(response.status, 200, `${path}: ${response.status}`);
  return response.text();
}

/** A token of the test application, valid for `lifetime` seconds. */
export function tokenFor(
  scene: Scene,
  { user = "testuser", lifetime = 30, role = "" } = {},
): Promise<string> {
  const roleQuery = role === "" ? "" : `&role=${role}`;
  return getText(scene, `/generateJwtToken?user=${user}&lifetime=${lifetime}${roleQuery}`);
}

/** What a hub has seen of a connection: the first event that begins so. */
export function observed(scene: Scene, connectionId: string, start: string): Promise<string> {
  return getText(
    scene,
    `/observed/${encodeURIComponent(connectionId)}/${encodeURIComponent(start)}`,
  );
}

/** Whether a hub has seen such an event, or does within so many milliseconds. */
export async function hasObserved(
  scene: Scene,
  connectionId: string,
  start: string,
  within = 0,
): Promise<boolean> {
  const path = `/observed/${encodeURIComponent(connectionId)}/${encodeURIComponent(start)}`;
  return (await fetch(scene.url(`${path}?within=${within}`))).ok;
}

/** Lets the methods go on that wait behind this door. */
export async function openDoor(scene: Scene, door: string): Promise<void> {
  await getText(scene, `/open/${door}`);
}

let doors = 0;

/** A name that no other case uses. */
export function uniqueName(): string {
  doors++;
  return `name${process.pid}-${doors}`;
}

/** Fails when `promise` settles within `ms`; for what must not happen. */
export async function staysPending(promise: Promise<unknown>, ms: number, what: string) {
  const pending = Symbol("pending");
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise((resolve) => {
    timer = setTimeout(() => resolve(pending), ms);
  });
  const first = await Promise.race([promise.catch((error) => error), limit]);
  clearTimeout(timer);
  assert.equal(first, pending, `${what} must not happen`);
}
