import type { CloseInfo, HalyardError } from "../errors.js";

/**
 * Takes what a connection receives by direct calls, as it is read: the way in for a layer that
 * parses bytes itself and needs neither messages nor promises. See `WebSocketConnection.consume`.
 *
 * Every call may use the connection in whatever way; what it throws ends the connection with 1011.
 */
export interface ByteSink {
  /**
   * Bytes of a message, text or binary, in order: `chunk[start..end)`, which may be none. Text is
   * valid UTF-8 as far as it goes; a compressed message comes inflated.
   *
   * @param chunk - Is used for the next read when the call is over: copy what must be kept.
   * @param endsMessage - Whether the message ends with these bytes.
   */
  onBytes(chunk: Buffer, start: number, end: number, endsMessage: boolean): void;
  /**
   * Nothing more will come; called exactly once.
   *
   * @param close - The peer's Close. Unless it answers ours, `close()` has to answer it.
   * @param error - Otherwise, why: the peer broke a rule (it has been told), the connection was lost
   *   or aborted.
   */
  onEnd(close: CloseInfo | undefined, error: HalyardError | undefined): void;
  /** Output had to wait for the peer, or was refused, and now nothing waits any more. */
  onDrained(): void;
}

/** A connection's sink, called so that nothing it throws gets further. */
export class PushedInput {
  readonly #sink: ByteSink;
  readonly #onError: (error: unknown) => void;
  #hasEnded = false;
  /** Whether the sink wants nothing for now. */
  isPaused = false;

  constructor(sink: ByteSink, onError: (error: unknown) => void) {
    this.#sink = sink;
    this.#onError = onError;
  }

  push(chunk: Buffer, start: number, end: number, endsMessage: boolean): void {
    try {
      this.#sink.onBytes(chunk, start, end, endsMessage);
    } catch (error) {
      this.#onError(error);
    }
  }

  end(close: CloseInfo | undefined, error: HalyardError | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    try {
      this.#sink.onEnd(close, error);
    } catch (thrown) {
      this.#onError(thrown);
    }
  }

  drained(): void {
    if (this.#hasEnded) return;
    try {
      this.#sink.onDrained();
    } catch (error) {
      this.#onError(error);
    }
  }
}
