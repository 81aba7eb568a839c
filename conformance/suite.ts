import { allCases } from "./cases/all.js";
import { type Case, type DeflateWish, Peer, type Subject } from "./peer.js";
import { RefusedError } from "./raw-client.js";
import type { RawConnection } from "./raw-connection.js";

const defaultTimeLimit = 10_000;

/** What became of a case. */
export interface CaseResult {
  readonly case: Case;
  /** Why it failed; `undefined` if it passed or was left out. */
  readonly failure: Error | undefined;
  /** Why it could not be played: the other end declined what it is about, as it may. */
  readonly leftOut: string | undefined;
  readonly milliseconds: number;
}

/** How to open a connection for one case; the one thing that differs between transports. */
export type Connect = (deflate: DeflateWish | undefined) => Promise<RawConnection>;

/** Why a case is not played. */
class LeftOut extends Error {}

/** The cases for an implementation; those whose id begins with one of `only`, if any are named. */
export function casesFor(subject: Subject, only: readonly string[] = []): Case[] {
  const { role = "server" } = subject;
  const chosen = ({ id, subject: appliesTo = role }: Case) =>
    appliesTo === role &&
    (only.length === 0 || only.some((prefix) => id === prefix || id.startsWith(`${prefix}.`)));
  return allCases(subject).filter(chosen);
}

/** Runs one case on a connection of its own, within its time limit. */
export async function runCase(each: Case, connect: Connect): Promise<CaseResult> {
  const limit = each.timeLimit ?? defaultTimeLimit;
  const start = performance.now();
  let connection: RawConnection | undefined;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${limit} ms`)), limit);
  });
  const play = async () => {
    connection = await connectFor(each, connect);
    if (connection !== undefined) await each.run(new Peer(connection));
  };
  let failure: Error | undefined;
  let leftOut: string | undefined;
  const played = play();
  try {
    await Promise.race([played, late]);
  } catch (error) {
    if (error instanceof LeftOut) leftOut = error.message;
    else failure = error as Error;
  } finally {
    clearTimeout(timer);
    connection?.destroy();
    // After a time limit the rest of the case fails too, and nobody waits for it.
    played.then(
      () => connection?.destroy(),
      () => {},
    );
  }
  return { case: each, failure, leftOut, milliseconds: performance.now() - start };
}

/** @returns `undefined` when the case has ended well with the handshake. */
async function connectFor(each: Case, connect: Connect): Promise<RawConnection | undefined> {
  const { offer, outcome = "accepted", isMalformed = false } = each.deflate ?? {};
  let connection: RawConnection;
  try {
    connection = await connect(each.deflate);
  } catch (error) {
    if (isMalformed && error instanceof RefusedError) return undefined;
    throw error;
  }
  const isAgreed = connection.deflate !== undefined;
  if (offer !== undefined && outcome === (isAgreed ? "declined" : "accepted")) {
    connection.destroy();
    if (isAgreed) throw new Error(`handshake: "${offer}" must be declined`);
    throw new LeftOut(`permessage-deflate is not agreed on with "${offer}"`);
  }
  return connection;
}

/** Runs cases, several at a time, and reports each in the order of the list. */
export async function runCases(
  cases: readonly Case[],
  connect: Connect,
  { concurrency = 8, report }: { concurrency?: number; report: (result: CaseResult) => void },
): Promise<void> {
  const running: Promise<CaseResult>[] = [];
  let next = 0;
  const start = () => {
    const each = cases[next++];
    if (each !== undefined) running.push(runCase(each, connect));
  };
  for (let index = 0; index < concurrency; index++) start();
  for (let result = running.shift(); result !== undefined; result = running.shift()) {
    report(await result);
    start();
  }
}
