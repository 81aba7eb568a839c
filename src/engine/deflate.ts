import { MessageTooBigError, ProtocolError, type ViolationError } from "../errors.js";
import type { DeflateAgreement, DeflateWishes } from "../protocol/deflate-offer.js";
import type { Role } from "../protocol/frame.js";
import type { ResolvedCompression } from "./options.js";
import {
  type DeflateSettings,
  deflateOnce,
  hasContexts,
  inflateOnce,
  ZlibContext,
  type ZlibStep,
} from "./zlib-context.js";

/** What a sync flush ends with, and every message leaves out. @see RFC 7692 §7.2.1 */
const flushTail = Buffer.from([0x00, 0x00, 0xff, 0xff]);
/** An empty message, or an empty end of one. @see RFC 7692 §7.2.3.6 */
const emptyBlock = Buffer.from([0x00]);
const noBlock = Buffer.alloc(0);
/** After this much work, a millisecond or two, a job lets others run. */
const sliceSize = 64 * 1024;
/** A ratio is looked at from this many bytes on: less is no danger, whatever the ratio. */
const ratioFrom = 1024 * 1024;
/** Unused contexts kept per kind; each has up to 300 KiB. */
const maxSpare = 4;

/** All slices write here first, and copy what they have to keep. */
const scratch = Buffer.allocUnsafeSlow(sliceSize);
const step: ZlibStep = { inputLeft: 0, outputLeft: 0 };

/** What to agree on: context takeover needs a state that lives on, which not every Node gives. */
export function deflateWishes(compression: ResolvedCompression): DeflateWishes {
  return {
    ...compression,
    serverContextTakeover: compression.serverContextTakeover && hasContexts,
    clientContextTakeover: compression.clientContextTakeover && hasContexts,
  };
}

/** Contexts that are not in use, by what they were made for. */
const spare = new Map<string, ZlibContext[]>();

function keyOf(kind: DeflateSettings | "inflate"): string {
  return kind === "inflate" ? kind : `${kind.windowBits} ${kind.level} ${kind.memLevel}`;
}

function borrow(kind: DeflateSettings | "inflate"): ZlibContext {
  return spare.get(keyOf(kind))?.pop() ?? new ZlibContext(kind);
}

function giveBack(kind: DeflateSettings | "inflate", context: ZlibContext): void {
  const key = keyOf(kind);
  const contexts = spare.get(key) ?? [];
  spare.set(key, contexts);
  if (contexts.length < maxSpare) {
    context.reset();
    contexts.push(context);
  } else {
    context.close();
  }
}

/**
 * permessage-deflate for one connection.
 *
 * Without context takeover, the default, a connection owns no zlib state: all share a few, and a
 * message up to {@link sliceSize} is done where it stands, without a thread hop. Larger ones are
 * done in slices with other work between them. With takeover a connection keeps its own state.
 *
 * @see RFC 7692 §7
 */
export class MessageDeflate {
  readonly #settings: DeflateSettings;
  readonly #maxRatio: number;
  readonly #maxMessageSize: number;
  readonly #keepsDeflater: boolean;
  readonly #keepsInflater: boolean;
  /** With takeover for good; without it while a message is sent in fragments. */
  #deflater: ZlibContext | undefined;
  #inflater: ZlibContext | undefined;
  /** Whether a job is between two slices, and works with that context. */
  #isCompressing = false;
  #isInflating = false;
  #isEnded = false;

  constructor(
    role: Role,
    agreement: DeflateAgreement,
    { level, memLevel, maxRatio }: ResolvedCompression,
    maxMessageSize: number,
  ) {
    const isServer = role === "server";
    const { serverMaxWindowBits, clientMaxWindowBits } = agreement;
    this.#settings = {
      windowBits: isServer ? serverMaxWindowBits : clientMaxWindowBits,
      level,
      memLevel,
    };
    this.#maxRatio = maxRatio;
    this.#maxMessageSize = maxMessageSize;
    const { serverNoContextTakeover, clientNoContextTakeover } = agreement;
    this.#keepsDeflater = !(isServer ? serverNoContextTakeover : clientNoContextTakeover);
    this.#keepsInflater = !(isServer ? clientNoContextTakeover : serverNoContextTakeover);
  }

  /** Whether each message is compressed for itself, so that many connections can share the result. */
  get isStateless(): boolean {
    return !this.#keepsDeflater;
  }

  /** Identifies connections for which the same message is compressed to the same bytes. */
  get key(): string {
    return keyOf(this.#settings);
  }

  /**
   * Compresses a message, or a fragment of one.
   *
   * @param endsMessage - Whether the message ends with `data`.
   * @returns The payload; a promise of it when it is more than one slice.
   */
  compress(data: Uint8Array, endsMessage: boolean): Buffer | Promise<Buffer> {
    if (data.length === 0) {
      // A block of its own without the tail would end in the middle of what follows.
      if (!endsMessage) return noBlock;
      this.#releaseDeflater();
      return emptyBlock;
    }
    if (!hasContexts) {
      // Context takeover is never agreed on then; see `deflateWishes`.
      const output = deflateOnce(data, this.#settings);
      return endsMessage ? output.subarray(0, output.length - flushTail.length) : output;
    }
    this.#deflater ??= borrow(this.#settings);
    const job = new CompressJob(this.#deflater, data);
    const finish = () => {
      this.#isCompressing = false;
      if (endsMessage || this.#isEnded) this.#releaseDeflater();
      return job.takeOutput(endsMessage);
    };
    if (job.runSlice()) return finish();
    this.#isCompressing = true;
    return runSlices(job).then(finish);
  }

  /**
   * Inflates a whole message. The memory of `data` is not needed afterwards.
   *
   * @returns The message; a promise of it when it is more than one slice.
   * @throws ProtocolError 1007 when `data` is no deflate data; MessageTooBigError when the result is
   *   larger than `maxMessageSize` or grows too much, as soon as that is seen.
   */
  inflate(data: Uint8Array): Buffer | Promise<Buffer> {
    const limit = Math.min(this.#maxMessageSize, Math.max(ratioFrom, data.length * this.#maxRatio));
    if (!hasContexts) return this.#inflateOnce(data, limit);
    this.#inflater ??= borrow("inflate");
    const job = new InflateJob(this.#inflater, data, limit);
    const finish = () => {
      this.#isInflating = false;
      this.#releaseInflater();
      return job.takeOutput();
    };
    const fail = (error: unknown): never => {
      this.#isInflating = false;
      this.#inflater?.close();
      this.#inflater = undefined;
      throw this.#violation(error, limit);
    };
    try {
      if (job.runSlice()) return finish();
    } catch (error) {
      return fail(error);
    }
    this.#isInflating = true;
    job.keepInput();
    return runSlices(job).then(finish, fail);
  }

  /** Whether nothing more will be inflated or compressed. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Gives all memory back; what a job under way uses, when it is done. */
  end(): void {
    this.#isEnded = true;
    if (!this.#isCompressing) this.#releaseDeflater();
    if (!this.#isInflating) this.#releaseInflater();
  }

  #inflateOnce(data: Uint8Array, limit: number): Buffer {
    try {
      return inflateOnce(Buffer.concat([data, flushTail]), limit);
    } catch (error) {
      throw this.#violation(error, limit);
    }
  }

  #violation(error: unknown, limit: number): ViolationError {
    const option = limit < this.#maxMessageSize ? "compression.maxRatio" : "maxMessageSize";
    return error instanceof RangeError
      ? new MessageTooBigError(limit, option)
      : new ProtocolError(
          "ERR_COMPRESSION",
          "A compressed message is no valid deflate data.",
          1007,
        );
  }

  #releaseDeflater(): void {
    if (this.#deflater === undefined || (this.#keepsDeflater && !this.#isEnded)) return;
    giveBack(this.#settings, this.#deflater);
    this.#deflater = undefined;
  }

  #releaseInflater(): void {
    if (this.#inflater === undefined || (this.#keepsInflater && !this.#isEnded)) return;
    giveBack("inflate", this.#inflater);
    this.#inflater = undefined;
  }
}

/** Runs the rest of a job, one slice a turn of the event loop. */
async function runSlices(job: { runSlice(): boolean }): Promise<void> {
  do await new Promise<void>((resolve) => setImmediate(resolve));
  while (!job.runSlice());
}

/** Output in pieces copied from the scratch buffer. */
class Output {
  readonly #pieces: Buffer[] = [];
  size = 0;

  addScratch(length: number): void {
    if (length === 0) return;
    this.#pieces.push(Buffer.from(scratch.subarray(0, length)));
    this.size += length;
  }

  take(): Buffer {
    return this.#pieces.length === 1
      ? (this.#pieces[0] as Buffer)
      : Buffer.concat(this.#pieces, this.size);
  }
}

class CompressJob {
  readonly #context: ZlibContext;
  readonly #input: Uint8Array;
  readonly #output = new Output();
  #at = 0;

  constructor(context: ZlibContext, input: Uint8Array) {
    this.#context = context;
    this.#input = input;
  }

  /** @returns Whether the job is done. */
  runSlice(): boolean {
    const end = Math.min(this.#input.length, this.#at + sliceSize);
    const slice = this.#input.subarray(0, end);
    do {
      this.#context.run(slice, this.#at, scratch, 0, step);
      this.#at = end - step.inputLeft;
      this.#output.addScratch(scratch.length - step.outputLeft);
      // A full scratch buffer may mean that there is more to come.
    } while (step.outputLeft === 0 || this.#at < end);
    return end === this.#input.length;
  }

  takeOutput(endsMessage: boolean): Buffer {
    const output = this.#output.take();
    return endsMessage ? output.subarray(0, output.length - flushTail.length) : output;
  }
}

class InflateJob {
  readonly #context: ZlibContext;
  readonly #limit: number;
  readonly #output = new Output();
  /** First the message's bytes, then the tail that it left out. */
  #input: Uint8Array;
  #at = 0;
  #wasReset = false;

  constructor(context: ZlibContext, input: Uint8Array, limit: number) {
    this.#context = context;
    this.#input = input;
    this.#limit = limit;
  }

  /** @returns Whether the job is done. @throws RangeError beyond the limit, Error on bad data. */
  runSlice(): boolean {
    for (;;) {
      const before = this.#at;
      this.#context.run(this.#input, before, scratch, 0, step);
      this.#at = this.#input.length - step.inputLeft;
      const written = scratch.length - step.outputLeft;
      this.#output.addScratch(written);
      if (this.#output.size > this.#limit) throw new RangeError("The output is too large.");
      if (step.outputLeft === 0) return false;
      if (step.inputLeft > 0) {
        this.#restart(this.#at > before || written > 0);
      } else if (this.#input === flushTail) {
        return true;
      } else {
        this.#input = flushTail;
        this.#at = 0;
      }
    }
  }

  /** Copies what is left of the input, whose memory is the caller's. */
  keepInput(): void {
    if (this.#input === flushTail) return;
    this.#input = Buffer.copyBytesFrom(this.#input, this.#at);
    this.#at = 0;
  }

  takeOutput(): Buffer {
    return this.#output.take();
  }

  /**
   * Input is left though there was room: a block with BFINAL ended the stream, which RFC 7692
   * §7.2.3.4 allows. Another stream follows; without any progress it would be the same for ever.
   */
  #restart(madeProgress: boolean): void {
    if (!madeProgress && this.#wasReset) throw new Error("The data does not go on.");
    this.#wasReset = !madeProgress;
    this.#context.reset();
  }
}
