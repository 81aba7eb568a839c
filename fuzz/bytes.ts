import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { MemoryBudget } from "halyard";
import { resolveSocketOptions } from "#dist/engine/options.js";
import { WebSocketConnection } from "#dist/engine/web-socket-connection.js";
import type { DeflateAgreement } from "#dist/protocol/deflate-offer.js";
import { PeerDeflate } from "../conformance/deflate.js";
import {
  closePayload,
  encodeFrames,
  FrameReader,
  fragmentsOf,
  opcode,
  type Role,
} from "../conformance/frames.js";
import { quietLogger } from "../test/support/socket-pair.js";
import { isDocumented } from "./trace.js";

const agreement: DeflateAgreement = {
  serverNoContextTakeover: false,
  clientNoContextTakeover: false,
  serverMaxWindowBits: 15,
  clientMaxWindowBits: 15,
};

/** Numbers from a seed: the same in every run. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** An integer from 0 to `below` - 1. */
  below(below: number): number {
    // xorshift32
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % below;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

/** A transport that swallows what is written, and says what to read. */
class Wire extends Duplex {
  readonly written: Buffer[] = [];

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(chunk);
    done();
  }

  override _final(done: () => void): void {
    done();
    // The peer ends its direction too, as one does in the end.
    this.push(null);
  }
}

/** What is given to a connection, and how. */
export interface Input {
  readonly bytes: Buffer;
  readonly role: Role;
  readonly isCompressing: boolean;
  /** Bytes a chunk; 0 for all at once. */
  readonly chunk: number;
  /** Whether it is received piece by piece. */
  readonly byPieces: boolean;
}

/**
 * Gives bytes to a connection, which must end, give its memory back and say what was wrong.
 *
 * @returns What it did, in brief: inputs that do the same are alike.
 * @throws Error when it did not behave.
 */
export async function play({
  bytes,
  role,
  isCompressing,
  chunk,
  byPieces,
}: Input): Promise<string> {
  const wire = new Wire({ allowHalfOpen: true });
  const memoryBudget = new MemoryBudget(1 << 30);
  const connection = new WebSocketConnection(wire, {
    role,
    subprotocol: undefined,
    deflate: isCompressing ? agreement : undefined,
    options: resolveSocketOptions({
      maxMessageSize: 100_000,
      closeTimeout: 1_000,
      memoryBudget,
      logger: quietLogger,
      compression: isCompressing,
    }),
    head: Buffer.alloc(0),
  });
  const events: string[] = [];
  const receiving = (async () => {
    try {
      const buffer = new Uint8Array(100);
      for (;;) {
        const result = byPieces ? await connection.receive(buffer) : await connection.receive();
        events.push(result.type);
        if (result.type === "close") break;
      }
      await connection.close(connection.closeStatus, connection.closeStatusDescription);
    } catch (error) {
      assert.ok(isDocumented(error), `an error of no documented kind: ${error}`);
      events.push(error.code);
    }
  })();
  const size = chunk === 0 ? bytes.length || 1 : chunk;
  for (let at = 0; at < bytes.length && !wire.destroyed; at += size) {
    wire.push(Buffer.from(bytes.subarray(at, at + size)));
    if (chunk !== 0) await nextTurn();
  }
  await nextTurn();
  if (!wire.destroyed && !wire.readableEnded) wire.push(null);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it does not end")), 10_000);
  });
  try {
    await Promise.race([Promise.all([receiving, connection.whenGone()]), late]);
  } finally {
    clearTimeout(timer);
    wire.destroy();
  }
  assert.equal(memoryBudget.used, 0, "memory budget");
  assert.match(connection.state, /^(closed|aborted)$/);

  const reader = new FrameReader();
  reader.push(Buffer.concat(wire.written));
  const answers: number[] = [];
  let code = 0;
  for (let frame = reader.read(); frame !== undefined; frame = reader.read()) {
    assert.equal(frame.masked, role === "client");
    if (frame.opcode === opcode.close && frame.payload.length >= 2) {
      code = frame.payload.readUInt16BE(0);
    }
    answers.push(frame.opcode);
  }
  assert.equal(reader.pending, 0, "half a frame was written");
  const last = events.slice(-4).join(" ");
  const counts = `${Math.min(events.length, 8)} ${Math.min(answers.length, 4)}`;
  return `${role} ${isCompressing} ${byPieces} ${connection.state} ${code} ${last} ${counts}`;
}

/** What mutation begins with: something of everything that is right. */
function seeds(): Input[] {
  const inputs: Input[] = [];
  for (const role of ["server", "client"] as const) {
    const from: Role = role === "server" ? "client" : "server";
    for (const isCompressing of [false, true]) {
      const deflate = new PeerDeflate(from, agreement);
      const text = Buffer.from("κόσμε and some text that repeats, and some text that repeats");
      const close = { opcode: opcode.close, payload: closePayload(1000, "bye") };
      const usual = [
        { opcode: opcode.text, payload: text },
        { opcode: opcode.ping, payload: "ping" },
        { opcode: opcode.binary, payload: Buffer.alloc(300, "bytes") },
        { opcode: opcode.pong },
      ];
      const cut = fragmentsOf({ opcode: opcode.text, payload: text }, 9);
      const lists = [usual, cut, [...usual, close], [...cut, close], [close]];
      if (isCompressing) {
        const compressed = (bytes: Buffer) => ({
          opcode: opcode.text,
          rsv: 4,
          payload: deflate.compress(bytes),
        });
        lists.push([compressed(text), compressed(text), close]);
        lists.push([...fragmentsOf(compressed(text), 7), ...usual, compressed(text)]);
        lists.push([compressed(Buffer.alloc(90_000, "a")), ...usual]);
      }
      for (const list of lists) {
        const bytes = encodeFrames(list, from);
        inputs.push({ bytes, role, isCompressing, chunk: 0, byPieces: false });
      }
    }
  }
  return inputs;
}

const telling = [0x00, 0x01, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0x82, 0x88, 0x89, 0xc1, 0xfe, 0xff];

function mutate(input: Input, other: Input, random: Random): Input {
  let bytes: Buffer = Buffer.from(input.bytes);
  for (let round = random.below(4); round >= 0; round--) {
    const at = random.below(bytes.length + 1);
    const length = random.below(1 + Math.min(40, bytes.length - at));
    const [before, after] = [bytes.subarray(0, at), bytes.subarray(at + length)];
    switch (random.below(7)) {
      case 0:
        if (at < bytes.length) (bytes[at] as number) ^= 1 << random.below(8);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = random.of(telling);
        break;
      case 2:
        bytes = Buffer.concat([before, after]);
        break;
      case 3:
        bytes = Buffer.concat([before, bytes.subarray(at, at + length), bytes.subarray(at)]);
        break;
      case 4:
        bytes = Buffer.concat([before, Buffer.from([random.of(telling)]), bytes.subarray(at)]);
        break;
      case 5:
        bytes = Buffer.concat([before, other.bytes.subarray(random.below(other.bytes.length + 1))]);
        break;
      default:
        bytes = Buffer.concat([before, after, other.bytes]);
    }
    // Long inputs are slow and say no more.
    bytes = bytes.subarray(0, 4000);
  }
  return {
    ...input,
    bytes,
    isCompressing: random.below(8) === 0 ? !input.isCompressing : input.isCompressing,
    chunk: random.of([0, 0, 0, 1, 3, 17]),
    byPieces: random.below(2) === 0,
  };
}

/**
 * Plays mutations of mutations, keeping those that do something new.
 *
 * @returns Inputs played, and kinds of behaviour seen.
 * @throws Error that names the input.
 */
export async function fuzzBytes({
  seed,
  milliseconds,
}: {
  seed: number;
  milliseconds: number;
}): Promise<{ played: number; kinds: number }> {
  const random = new Random(seed);
  const corpus = seeds();
  const seen = new Set<string>();
  const start = corpus.length;
  const end = performance.now() + milliseconds;
  let played = 0;
  while (played < start || performance.now() < end) {
    const input =
      played < start
        ? (corpus[played] as Input)
        : mutate(random.of(corpus), random.of(corpus), random);
    played++;
    let kind: string;
    try {
      kind = await play(input);
    } catch (cause) {
      const { bytes, ...rest } = input;
      throw new Error(`${cause} for ${JSON.stringify(rest)} ${bytes.toString("hex")}`, { cause });
    }
    if (seen.has(kind)) continue;
    seen.add(kind);
    corpus.push(input);
  }
  return { played, kinds: seen.size };
}
