import { MessageTooBigError, ProtocolError, type ViolationError } from "../errors.js";
import type { DeflateAgreement, DeflateWishes } from "../protocol/deflate-offer.js";
import type { Role } from "../protocol/frame.js";
import { copyLimit } from "../protocol/frame-writer.js";
import type { ResolvedCompression } from "./options.js";
import {
  type DeflateSettings,
  deflateOnce,
  hasContexts,
  inflateOnce,
  type ZlibContext,
  type ZlibStep,
} from "./zlib-context.js";
import { deflatersOf, inflaters, type ZlibPool } from "./zlib-pool.js";

/** What a sync flush ends with, and every message leaves out. @see RFC 7692 §7.2.1 */
const flushTail = Buffer.from([0x00, 0x00, 0xff, 0xff]);
/** An empty message, or an empty end of one. @see RFC 7692 §7.2.3.6 */
const emptyBlock = Buffer.from([0x00]);
const noBlock = Buffer.alloc(0);
/** After this much work, a millisecond or two, a job lets others run; up to this much is done at once. */
export const sliceSize = 64 * 1024;
/** A ratio is looked at from this many bytes on: less is no danger, whatever the ratio. */
const ratioFrom = 1024 * 1024;
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
  readonly #deflaters: ZlibPool;
  /** Identifies connections for which the same message is compressed to the same bytes. */
  readonly key: string;
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
    const { key, pool } = deflatersOf(this.#settings);
    this.key = key;
    this.#deflaters = pool;
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

  /**
   * Compresses a message, or a fragment of one.
   *
   * @param endsMessage - Whether the message ends with `data`.
   * @returns The payload; a promise of it when it is more than one slice. Below {@link copyLimit}
   *   it may lie in memory that the next call uses again.
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
    this.#deflater ??= this.#deflaters.borrow();
    const job = new CompressJob(this.#deflater, data);
    if (job.runSlice()) return this.#finishCompressing(job, endsMessage);
    this.#isCompressing = true;
    return runSlices(job).then(() => this.#finishCompressing(job, endsMessage));
  }

  #finishCompressing(job: CompressJob, endsMessage: boolean): Buffer {
    this.#isCompressing = false;
    if (endsMessage || this.#isEnded) this.#releaseDeflater();
    return job.takeOutput(endsMessage);
  }

  /**
   * Inflates a whole message, `data[start..end)`, whose memory is not needed afterwards.
   *
   * @returns The message; a promise of it when it is more than one slice. A small one may lie in
   *   memory that the next call uses again.
   * @throws ProtocolError 1007 when that is no deflate data; MessageTooBigError when the result is
   *   larger than `maxMessageSize` or grows too much, as soon as that is seen.
   */
  inflate(data: Uint8Array, start = 0, end = data.length): Buffer | Promise<Buffer> {
    const ratioLimit = Math.max(ratioFrom, (end - start) * this.#maxRatio);
    const limit = Math.min(this.#maxMessageSize, ratioLimit);
    if (!hasContexts) return this.#inflateOnce(data.subarray(start, end), limit);
    this.#inflater ??= inflaters.borrow();
    const job = new InflateJob(this.#inflater, data, start, end, limit);
    try {
      if (job.runSlice()) return this.#finishInflating(job);
    } catch (error) {
      return this.#failInflating(error, limit);
    }
    this.#isInflating = true;
    job.keepInput();
    return runSlices(job).then(
      () => this.#finishInflating(job),
      (error) => this.#failInflating(error, limit),
    );
  }

  #finishInflating(job: InflateJob): Buffer {
    this.#isInflating = false;
    this.#releaseInflater();
    return job.takeOutput();
  }

  #failInflating(error: unknown, limit: number): never {
    this.#isInflating = false;
    this.#inflater?.close();
    this.#inflater = undefined;
    throw this.#violation(error, limit);
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
    this.#deflaters.giveBack(this.#deflater);
    this.#deflater = undefined;
  }

  #releaseInflater(): void {
    if (this.#inflater === undefined || (this.#keepsInflater && !this.#isEnded)) return;
    inflaters.giveBack(this.#inflater);
    this.#inflater = undefined;
  }
}

/** Runs the rest of a job, one slice a turn of the event loop. */
async function runSlices(job: { runSlice(): boolean }): Promise<void> {
  do await new Promise<void>((resolve) => setImmediate(resolve));
  while (!job.runSlice());
}

/** Output: the newest in the scratch buffer, and copies of what came before. */
class Output {
  #kept: Buffer[] | undefined;
  #keptSize = 0;
  /** How much of the scratch buffer is used. */
  #inScratch = 0;

  get size(): number {
    return this.#keptSize + this.#inScratch;
  }

  /** Runs `context` over `input[from..end)`; what it writes is added. See {@link ZlibContext.run}. */
  run(context: ZlibContext, input: Uint8Array, from: number, end: number): void {
    context.run(input, from, end, scratch, this.#inScratch, step);
    this.#inScratch = scratch.length - step.outputLeft;
    if (step.outputLeft === 0) this.keep();
  }

  /** Moves everything out of the scratch buffer, which others then use. */
  keep(): void {
    if (this.#inScratch === 0) return;
    this.#kept ??= [];
    this.#kept.push(Buffer.copyBytesFrom(scratch, 0, this.#inScratch));
    this.#keptSize += this.#inScratch;
    this.#inScratch = 0;
  }

  /**
   * All of it but the last `tail` bytes: a view of the scratch buffer if it is small.
   *
   * @param tail - Bytes to leave out.
   */
  take(tail: number): Buffer {
    const { size } = this;
    if (this.#kept === undefined && size < copyLimit) return scratch.subarray(0, size - tail);
    this.keep();
    const kept = this.#kept ?? [];
    const all = kept.length === 1 ? (kept[0] as Buffer) : Buffer.concat(kept, size);
    return all.subarray(0, size - tail);
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
    do {
      this.#output.run(this.#context, this.#input, this.#at, end);
      this.#at = end - step.inputLeft;
      // A full scratch buffer may mean that there is more to come.
    } while (step.outputLeft === 0 || this.#at < end);
    if (end === this.#input.length) return true;
    this.#output.keep();
    return false;
  }

  takeOutput(endsMessage: boolean): Buffer {
    return this.#output.take(endsMessage ? flushTail.length : 0);
  }
}

class InflateJob {
  readonly #context: ZlibContext;
  readonly #limit: number;
  readonly #output = new Output();
  /** First the message's bytes, `#at` to `#end`, then the tail that it left out. */
  #input: Uint8Array;
  #at: number;
  #end: number;
  #wasReset = false;

  constructor(context: ZlibContext, input: Uint8Array, start: number, end: number, limit: number) {
    this.#context = context;
    this.#input = input;
    this.#at = start;
    this.#end = end;
    this.#limit = limit;
  }

  /** @returns Whether the job is done. @throws RangeError beyond the limit, Error on bad data. */
  runSlice(): boolean {
    for (;;) {
      const before = this.#at;
      const sizeBefore = this.#output.size;
      this.#output.run(this.#context, this.#input, before, this.#end);
      this.#at = this.#end - step.inputLeft;
      if (this.#output.size > this.#limit) throw new RangeError("The output is too large.");
      if (step.outputLeft === 0) return false;
      if (step.inputLeft > 0) {
        this.#restart(this.#at > before || this.#output.size > sizeBefore);
      } else if (this.#input === flushTail) {
        return true;
      } else {
        this.#input = flushTail;
        this.#at = 0;
        this.#end = flushTail.length;
      }
    }
  }

  /** Copies what is left of the input, whose memory is the caller's. */
  keepInput(): void {
    if (this.#input === flushTail) return;
    this.#input = Buffer.copyBytesFrom(this.#input, this.#at, this.#end - this.#at);
    this.#end -= this.#at;
    this.#at = 0;
  }

  takeOutput(): Buffer {
    return this.#output.take(0);
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
