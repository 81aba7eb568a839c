import { HalyardError, type ViolationError } from "halyard";
import { Protocol, type ProtocolOptions } from "#dist/protocol/protocol.js";
import { FrameReader } from "../conformance/frames.js";

/** What a chunk of input made a {@link Protocol} do, in a form in which pieces leave no trace. */
export interface Trace {
  /** Frames and messages that were complete, and the end. */
  readonly events: readonly string[];
  /** The frames it wrote, without their masks. */
  readonly output: readonly string[];
  readonly violation: ViolationError | undefined;
}

/**
 * Reads `input` in chunks.
 *
 * @param cuts - Where it is cut, in any order; beyond its end they count from the beginning again.
 */
export function traceOf(input: Buffer, cuts: readonly number[], options: ProtocolOptions): Trace {
  const events: string[] = [];
  let parts: Buffer[] = [];
  let violation: ViolationError | undefined;
  const protocol: Protocol = new Protocol(
    {
      onData(type, chunk, start, end, endsFrame, endsMessage) {
        parts.push(Buffer.from(chunk.subarray(start, end)));
        if (!endsFrame) return;
        const bytes = Buffer.concat(parts).toString("hex");
        parts = [];
        events.push(`${type} ${protocol.isCompressed} ${endsMessage} ${bytes}`);
      },
      onPong: (payload) => events.push(`pong ${payload.toString("hex")}`),
      onClose: ({ status, description }) => events.push(`close ${status} ${description}`),
      onViolation(error) {
        violation = error;
        events.push(`violation ${error.code} ${error.closeCode}`);
        protocol.fail(error);
      },
    },
    options,
  );
  const borders = [...new Set(cuts.map((cut) => cut % (input.length + 1)))].toSorted(
    (a, b) => a - b,
  );
  let from = 0;
  for (const to of [...borders, input.length]) {
    // The engine unmasks in place, and the input is read more than once.
    protocol.receive(Buffer.from(input.subarray(from, to)));
    from = to;
  }
  const reader = new FrameReader();
  reader.push(Buffer.concat([protocol.takeOutput() ?? []].flat()));
  const output: string[] = [];
  for (let frame = reader.read(); frame !== undefined; frame = reader.read()) {
    output.push(`${frame.opcode} ${frame.fin} ${frame.rsv} ${frame.payload.toString("hex")}`);
  }
  return { events, output, violation };
}

/** Every code that an error of Halyard may have in these tests, by the name of its class. */
const documented: Readonly<Record<string, readonly string[]>> = {
  HandshakeError: [
    "ERR_HANDSHAKE_METHOD",
    "ERR_HANDSHAKE_HTTP_VERSION",
    "ERR_HANDSHAKE_UPGRADE",
    "ERR_HANDSHAKE_CONNECTION",
    "ERR_HANDSHAKE_BODY",
    "ERR_HANDSHAKE_VERSION",
    "ERR_HANDSHAKE_KEY",
    "ERR_HANDSHAKE_SUBPROTOCOL",
    "ERR_HANDSHAKE_STATUS",
    "ERR_HANDSHAKE_ACCEPT",
    "ERR_HANDSHAKE_EXTENSION",
  ],
  ProtocolError: [
    "ERR_RESERVED_BITS",
    "ERR_OPCODE",
    "ERR_MASK",
    "ERR_CONTROL_FRAME",
    "ERR_LENGTH",
    "ERR_FRAGMENT",
    "ERR_INVALID_UTF8",
    "ERR_CLOSE_PAYLOAD",
    "ERR_CLOSE_CODE",
    "ERR_COMPRESSION",
  ],
  MessageTooBigError: ["ERR_MESSAGE_TOO_BIG"],
  OverloadError: ["ERR_OVERLOAD"],
  ConnectionClosedError: [
    "ERR_ABORTED",
    "ERR_CONNECTION_LOST",
    "ERR_CONNECTION_CLOSED",
    "ERR_CLOSE_TIMEOUT",
    "ERR_KEEP_ALIVE_TIMEOUT",
  ],
  InvalidStateError: [
    "ERR_RECEIVE_PENDING",
    "ERR_CLOSE_SENT",
    "ERR_FRAGMENTS_OPEN",
    "ERR_PINGS_PENDING",
  ],
  SendBufferFullError: ["ERR_SEND_BUFFER_FULL"],
};

/** Whether an error is of a class and a code that the documentation names. */
export function isDocumented(error: unknown): error is HalyardError {
  return error instanceof HalyardError && (documented[error.name]?.includes(error.code) ?? false);
}
