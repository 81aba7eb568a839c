import {
  constants,
  createDeflateRaw,
  createInflateRaw,
  deflateRawSync,
  inflateRawSync,
} from "node:zlib";

/** How a compressor is set up. */
export interface DeflateSettings {
  readonly windowBits: number;
  readonly level: number;
  readonly memLevel: number;
}

/** A step of a job: how much input is left, and how much room the output has left. */
export interface ZlibStep {
  inputLeft: number;
  outputLeft: number;
}

/**
 * A zlib state that works where it is called, without a thread hop, and is used for many messages.
 *
 * node:zlib's public calls either cost two thread hops a message (streams) or a new state of up to
 * 300 KiB each (`…Sync`). What is used here instead is the binding below its streams: the methods
 * `writeSync` and `reset` of `_handle`, and `_writeState`. {@link hasContexts} tells whether this
 * Node has them as expected; everything else in this project goes by that.
 */
export class ZlibContext {
  readonly #stream: ZlibStream;
  #error: string | undefined;

  constructor(settings: DeflateSettings | "inflate") {
    const stream =
      settings === "inflate" ? createInflateRaw({ windowBits: 15 }) : createDeflateRaw(settings);
    this.#stream = stream as unknown as ZlibStream;
    this.#stream._handle.onerror = (message) => {
      this.#error = message;
    };
  }

  /**
   * Runs zlib once over `input[from..end)` into `output[at..]` with a sync flush.
   *
   * @param step - Is filled with what is left of both.
   * @throws Error when the input is no valid data; the context must be reset or closed then.
   */
  run(
    input: Uint8Array,
    from: number,
    end: number,
    output: Uint8Array,
    at: number,
    step: ZlibStep,
  ): void {
    const { _handle: handle, _writeState: state } = this.#stream;
    handle.writeSync(
      constants.Z_SYNC_FLUSH,
      input,
      from,
      end - from,
      output,
      at,
      output.length - at,
    );
    if (this.#error !== undefined) {
      const message = this.#error;
      this.#error = undefined;
      throw new Error(message);
    }
    step.outputLeft = state[0] as number;
    step.inputLeft = state[1] as number;
  }

  /** Forgets the window. */
  reset(): void {
    this.#error = undefined;
    this.#stream._handle.reset();
  }

  /** Gives the memory back. */
  close(): void {
    this.#stream._handle.close();
  }
}

/** The part of node:zlib's streams that is used here and not documented. */
interface ZlibStream {
  readonly _handle: ZlibHandle;
  /** Room left in the output, and input left, after a write. */
  readonly _writeState: Uint32Array;
}

interface ZlibHandle {
  writeSync(
    flush: number,
    input: Uint8Array,
    from: number,
    length: number,
    output: Uint8Array,
    at: number,
    room: number,
  ): void;
  reset(): void;
  close(): void;
  onerror: (message: string) => void;
}

/** Whether {@link ZlibContext} works on this Node: tried once, by use. */
export const hasContexts: boolean = (() => {
  try {
    const text = Buffer.from("halyard halyard halyard");
    const squeezed = Buffer.alloc(128);
    const restored = Buffer.alloc(128);
    const step: ZlibStep = { inputLeft: -1, outputLeft: -1 };
    const deflate = new ZlibContext({ windowBits: 15, level: 6, memLevel: 8 });
    const inflate = new ZlibContext("inflate");
    let isRight = true;
    for (let round = 0; round < 2; round++) {
      deflate.run(text, 0, text.length, squeezed, 0, step);
      const length = squeezed.length - step.outputLeft;
      isRight &&= step.inputLeft === 0 && length > 4;
      inflate.run(squeezed, 0, length, restored, 0, step);
      isRight &&= restored.subarray(0, 128 - step.outputLeft).equals(text);
      deflate.reset();
      inflate.reset();
    }
    try {
      inflate.run(Buffer.from([0xff, 0xff, 0xff]), 0, 3, restored, 0, step);
      isRight = false;
    } catch {
      inflate.reset();
    }
    deflate.close();
    inflate.close();
    return isRight;
  } catch {
    return false;
  }
})();

/** Compresses with an empty window by node:zlib's public call. */
export function deflateOnce(input: Uint8Array, settings: DeflateSettings): Buffer {
  return deflateRawSync(input, { ...settings, finishFlush: constants.Z_SYNC_FLUSH });
}

/**
 * Inflates with an empty window by node:zlib's public call.
 *
 * @param maxLength - Bytes of output at most.
 * @throws RangeError beyond that, and Error when the input is no valid data.
 */
export function inflateOnce(input: Uint8Array, maxLength: number): Buffer {
  try {
    return inflateRawSync(input, {
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: maxLength,
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      throw new RangeError("The output is too large.");
    }
    throw error;
  }
}
