import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CloseInfo, ViolationError } from "halyard";
import { releaseSlab } from "#dist/protocol/frame-writer.js";
import { type MessageType, Protocol, type ProtocolEvents } from "#dist/protocol/protocol.js";
import {
  closePayload,
  encodeFrames,
  type Frame,
  FrameReader,
  type FrameSpec,
  opcode,
} from "../../conformance/frames.js";

const { text, binary, continuation, close, ping, pong } = opcode;
const roles = ["server", "client"] as const;
type Role = (typeof roles)[number];

/** What a test compares: whole frames of messages, and everything else as it is reported. */
type Seen =
  | { frame: MessageType; payload: Buffer; ends: boolean }
  | { pong: Buffer }
  | { close: CloseInfo }
  | { violation: number };

/** A protocol whose events are collected, and whose input is a copy, since it is unmasked in place. */
class Recorder implements ProtocolEvents {
  readonly protocol: Protocol;
  readonly seen: Seen[] = [];
  /** Bytes of the frame that has not ended yet. */
  part = Buffer.alloc(0);
  violation: ViolationError | undefined;
  /** Called after each piece. */
  afterData: () => void = () => {};

  constructor(role: Role, maxMessageSize = 1024 * 1024, allowsCompression = false) {
    this.protocol = new Protocol(this, { role, maxMessageSize, allowsCompression });
  }

  onData(
    type: MessageType,
    chunk: Buffer,
    start: number,
    end: number,
    endsFrame: boolean,
    endsMessage: boolean,
  ): void {
    assert.ok(endsFrame || !endsMessage, "a message ends with a frame");
    this.part = Buffer.concat([this.part, chunk.subarray(start, end)]);
    if (endsFrame) {
      this.seen.push({ frame: type, payload: this.part, ends: endsMessage });
      this.part = Buffer.alloc(0);
    }
    this.afterData();
  }

  onPong(payload: Buffer): void {
    this.seen.push({ pong: Buffer.from(payload) });
  }

  onClose(info: CloseInfo): void {
    this.seen.push({ close: info });
  }

  onViolation(error: ViolationError): void {
    assert.equal(this.violation, undefined, "a violation is reported once");
    this.violation = error;
    this.seen.push({ violation: error.closeCode });
  }

  closeCode(): number | undefined {
    return this.violation?.closeCode;
  }

  feed(bytes: Uint8Array): number {
    return this.protocol.receive(Buffer.from(bytes));
  }

  /** What the protocol has to say, as frames. */
  output(): Frame[] {
    const reader = new FrameReader();
    reader.push(Buffer.concat([this.protocol.takeOutput() ?? []].flat()));
    releaseSlab(true);
    const frames: Frame[] = [];
    for (let frame = reader.read(); frame !== undefined; frame = reader.read()) frames.push(frame);
    assert.equal(reader.pending, 0);
    return frames;
  }
}

/** The bytes that reach `role`: a server reads what a client masked. */
function bytesFor(role: Role, frames: readonly FrameSpec[]): Buffer {
  return encodeFrames(frames, role === "server" ? "client" : "server");
}

/** Every way to cut `bytes` that is tried: whole, byte by byte, and in two at every place. */
function* splits(bytes: Buffer): Generator<{ name: string; parts: Buffer[] }> {
  yield { name: "whole", parts: [bytes] };
  yield { name: "byte by byte", parts: [...bytes].map((byte) => Buffer.from([byte])) };
  for (let cut = 1; cut < bytes.length; cut++) {
    yield { name: `cut at ${cut}`, parts: [bytes.subarray(0, cut), bytes.subarray(cut)] };
  }
}

const hex = (digits: string) => Buffer.from(digits.replaceAll(" ", ""), "hex");
const frame = (type: MessageType, payload: string | Buffer, ends = true): Seen => ({
  frame: type,
  payload: Buffer.from(payload),
  ends,
});
const closed = (status: number, description = ""): Seen => ({ close: { status, description } });
const violation = (closeCode: number): Seen => ({ violation: closeCode });

interface Row {
  readonly name: string;
  readonly frames: readonly FrameSpec[];
  readonly value: readonly Seen[];
  /** Payloads of the pongs that are answered. */
  readonly pongs?: readonly (string | Buffer)[];
}

const long = Buffer.from(Array.from({ length: 300 }, (_, index) => (index * 37) & 0xff));

const legal: Row[] = [
  { name: "text", frames: [{ opcode: text, payload: "hello" }], value: [frame("text", "hello")] },
  { name: "empty text", frames: [{ opcode: text }], value: [frame("text", "")] },
  { name: "empty binary", frames: [{ opcode: binary }], value: [frame("binary", "")] },
  ...[125, 126, 127, 300].map((size) => ({
    name: `binary of ${size} bytes`,
    frames: [{ opcode: binary, payload: long.subarray(0, size) }],
    value: [frame("binary", long.subarray(0, size))],
  })),
  {
    name: "two messages",
    frames: [
      { opcode: text, payload: "é" },
      { opcode: binary, payload: hex("ff00") },
    ],
    value: [frame("text", "é"), frame("binary", hex("ff00"))],
  },
  {
    name: "fragments, empty ones among them",
    frames: [
      { opcode: binary, fin: false },
      { opcode: continuation, payload: "a", fin: false },
      { opcode: continuation, fin: false },
      { opcode: continuation, payload: "b", fin: false },
      { opcode: continuation },
    ],
    value: [
      frame("binary", "", false),
      frame("binary", "a", false),
      frame("binary", "", false),
      frame("binary", "b", false),
      frame("binary", ""),
    ],
  },
  {
    name: "control frames between fragments",
    frames: [
      { opcode: text, payload: hex("f09f"), fin: false },
      { opcode: ping, payload: hex("ff fe") },
      { opcode: pong, payload: "asked?" },
      { opcode: continuation, payload: hex("98"), fin: false },
      { opcode: ping },
      { opcode: continuation, payload: hex("80 21") },
    ],
    value: [
      frame("text", hex("f09f"), false),
      { pong: Buffer.from("asked?") },
      frame("text", hex("98"), false),
      frame("text", hex("8021")),
    ],
    pongs: [hex("ff fe"), ""],
  },
  {
    name: "pings of 0 and 125 bytes",
    frames: [{ opcode: ping }, { opcode: ping, payload: long.subarray(0, 125) }],
    value: [],
    pongs: ["", long.subarray(0, 125)],
  },
  {
    name: "pongs of 0 and 125 bytes",
    frames: [{ opcode: pong }, { opcode: pong, payload: long.subarray(0, 125) }],
    value: [{ pong: Buffer.alloc(0) }, { pong: long.subarray(0, 125) }],
  },
  {
    name: "text within, after and before text that is not ASCII",
    frames: [
      { opcode: text, payload: "a語", fin: false },
      { opcode: continuation, payload: "plain", fin: false },
      { opcode: continuation, payload: "😀" },
      { opcode: text, payload: "plain" },
      { opcode: text, payload: "é" },
    ],
    value: [
      frame("text", "a語", false),
      frame("text", "plain", false),
      frame("text", "😀"),
      frame("text", "plain"),
      frame("text", "é"),
    ],
  },
  {
    name: "a character with a frame for each byte",
    frames: [
      { opcode: text, payload: hex("f4"), fin: false },
      { opcode: continuation, payload: hex("8f"), fin: false },
      { opcode: continuation, fin: false },
      { opcode: continuation, payload: hex("bf"), fin: false },
      { opcode: continuation, payload: hex("bf") },
    ],
    value: [
      frame("text", hex("f4"), false),
      frame("text", hex("8f"), false),
      frame("text", "", false),
      frame("text", hex("bf"), false),
      frame("text", hex("bf")),
    ],
  },
  ...["efbfbe", "efbfbf", "efb790", "f48fbfbf", "efbbbf", "00"].map((digits) => ({
    name: `text <${digits}>, which is valid`,
    frames: [{ opcode: text, payload: hex(digits) }],
    value: [frame("text", hex(digits))],
  })),
  { name: "empty Close", frames: [{ opcode: close }], value: [closed(1005)] },
  {
    name: "Close with code and reason",
    frames: [{ opcode: close, payload: closePayload(4999, "bis später") }],
    value: [closed(4999, "bis später")],
  },
  {
    name: "Close with 125 bytes within a message",
    frames: [
      { opcode: text, payload: "part", fin: false },
      { opcode: close, payload: closePayload(1001, "x".repeat(123)) },
    ],
    value: [frame("text", "part", false), closed(1001, "x".repeat(123))],
  },
  {
    name: "nothing behind a Close",
    frames: [
      { opcode: close, payload: closePayload(1000) },
      { opcode: ping },
      { opcode: text, payload: "late" },
      { opcode: 3 },
    ],
    value: [closed(1000)],
  },
];

const good: FrameSpec = { opcode: text, payload: "good" };
const goodSeen = frame("text", "good");
const illegal: Row[] = [
  ...[1, 2, 3, 4, 5, 6, 7].flatMap((rsv) =>
    [text, ping].map((code) => ({
      name: `reserved bits ${rsv} on opcode ${code}`,
      frames: [good, { opcode: code, payload: "x", rsv }],
      value: [goodSeen, violation(1002)],
    })),
  ),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((code) => ({
    name: `opcode ${code}`,
    frames: [good, { opcode: code }, good],
    value: [goodSeen, violation(1002)],
  })),
  ...[ping, pong, close].flatMap((code) => [
    {
      name: `fragmented control frame ${code}`,
      frames: [good, { opcode: code, fin: false }],
      value: [goodSeen, violation(1002)],
    },
    {
      name: `control frame ${code} of 126 bytes`,
      frames: [good, { opcode: code, payload: "x".repeat(126) }],
      value: [goodSeen, violation(1002)],
    },
    {
      name: `control frame ${code} with a 64-bit length`,
      frames: [good, { opcode: code, lengthForm: 64 as const }],
      value: [goodSeen, violation(1002)],
    },
  ]),
  {
    name: "continuation of nothing",
    frames: [good, { opcode: continuation, payload: "x" }],
    value: [goodSeen, violation(1002)],
  },
  ...[text, binary].map((code) => ({
    name: `opcode ${code} within a message`,
    frames: [{ opcode: text, payload: "first", fin: false }, { opcode: code }],
    value: [frame("text", "first", false), violation(1002)],
  })),
  {
    name: "Close with one byte",
    frames: [{ opcode: close, payload: "x" }],
    value: [violation(1002)],
  },
  {
    name: "Close with a reason that is not UTF-8",
    frames: [{ opcode: close, payload: closePayload(1000, hex("ff")) }],
    value: [violation(1007)],
  },
  ...([16, 64] as const).map((lengthForm) => ({
    name: `5 bytes with a ${lengthForm}-bit length`,
    frames: [good, { opcode: binary, payload: "12345", lengthForm }],
    value: [goodSeen, violation(1002)],
  })),
  {
    name: "a 64-bit length with its top bit set",
    frames: [good, { opcode: binary, length: 2n ** 63n }],
    value: [goodSeen, violation(1002)],
  },
  ...[2n ** 63n - 1n, 2n ** 53n, 2n ** 53n - 1n, 2n ** 32n].map((length) => ({
    name: `a length of ${length}`,
    frames: [good, { opcode: binary, length }],
    value: [goodSeen, violation(1009)],
  })),
];

for (const role of roles) {
  describe(`Protocol reads as a ${role}, at every split`, () => {
    for (const { name, frames, value, pongs = [] } of [...legal, ...illegal]) {
      it(name, () => {
        for (const { name: split, parts } of splits(bytesFor(role, frames))) {
          const recorder = new Recorder(role);
          for (const part of parts) {
            const used = recorder.feed(part);
            if (recorder.protocol.isReading) assert.equal(used, part.length, split);
          }
          assert.deepEqual(recorder.seen, value, split);
          const answers = recorder.output();
          assert.deepEqual(
            answers.map(({ opcode: code, fin, masked, payload }) => ({
              code,
              fin,
              masked,
              payload,
            })),
            pongs.map((payload) => ({
              code: pong,
              fin: true,
              masked: role === "client",
              payload: Buffer.from(payload),
            })),
            split,
          );
        }
      });
    }
  });

  describe(`Protocol as a ${role}`, () => {
    it("takes a Close with every legal code and no other", () => {
      const isLegal = (code: number) =>
        (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) ||
        (code >= 3000 && code <= 4999);
      for (let code = 0; code <= 5000; code++) {
        const recorder = new Recorder(role);
        recorder.feed(bytesFor(role, [{ opcode: close, payload: closePayload(code) }]));
        assert.deepEqual(recorder.seen, [isLegal(code) ? closed(code) : violation(1002)]);
        assert.equal(recorder.protocol.isReading, false);
      }
    });

    it("reports what is wrong with the first two bytes when it has them", () => {
      const mask = role === "server" ? 0x80 : 0;
      const rows: [name: string, first: number, second: number][] = [
        ["the mask bit of the other end", 0x81, 0x05 | (mask ^ 0x80)],
        ["the mask bit of the other end on an empty frame", 0x82, mask ^ 0x80],
        ["RSV1", 0xc1, mask | 5],
        ["RSV3", 0x91, mask | 5],
        ["opcode 3", 0x83, mask | 5],
        ["opcode 11", 0x8b, mask | 5],
        ["a fragmented ping", 0x09, mask | 5],
        ["a ping of 126 bytes or more", 0x89, mask | 126],
      ];
      for (const [name, first, second] of rows) {
        const together = new Recorder(role);
        together.feed(Buffer.from([first, second]));
        assert.deepEqual(together.seen, [violation(1002)], name);
        const apart = new Recorder(role);
        apart.feed(Buffer.from([first]));
        assert.deepEqual(apart.seen, [], name);
        apart.feed(Buffer.from([second]));
        assert.deepEqual(apart.seen, [violation(1002)], name);
      }
    });

    it("refuses a message over its limit by the header alone, fragments counted together", () => {
      const limit = 1000;
      const header = (spec: FrameSpec, length: number) =>
        bytesFor(role, [{ ...spec, length: BigInt(length) }]);
      const whole = new Recorder(role, limit);
      whole.feed(bytesFor(role, [{ opcode: binary, payload: Buffer.alloc(limit) }]));
      assert.deepEqual(whole.seen, [frame("binary", Buffer.alloc(limit))]);
      whole.feed(header({ opcode: binary }, limit + 1));
      assert.deepEqual(whole.seen.slice(1), [violation(1009)]);

      const fragments = new Recorder(role, limit);
      const part = (code: number, size: number): FrameSpec => ({
        opcode: code,
        payload: Buffer.alloc(size),
        fin: false,
      });
      // Each message counts anew; a control frame does not count.
      fragments.feed(bytesFor(role, [{ opcode: binary, payload: Buffer.alloc(900) }]));
      fragments.feed(bytesFor(role, [part(binary, 500), { opcode: pong, payload: "pong" }]));
      fragments.feed(bytesFor(role, [part(continuation, 500), part(continuation, 0)]));
      assert.equal(fragments.closeCode(), undefined);
      fragments.feed(header({ opcode: continuation }, 1));
      assert.equal(fragments.closeCode(), 1009);
      assert.equal(fragments.violation?.code, "ERR_MESSAGE_TOO_BIG");
    });

    it("loses nothing when it is suspended after any piece", () => {
      const frames: FrameSpec[] = [
        { opcode: text, payload: "語é", fin: false },
        { opcode: continuation, payload: "😀" },
        { opcode: ping, payload: "p" },
        { opcode: binary, payload: long.subarray(0, 140) },
        { opcode: binary },
        { opcode: close, payload: closePayload(1000, "bye") },
      ];
      const bytes = bytesFor(role, frames);
      const expected = new Recorder(role);
      expected.feed(bytes);
      const answers = expected.output();
      for (const { name, parts } of splits(bytes)) {
        const recorder = new Recorder(role);
        recorder.afterData = () => {
          recorder.protocol.isSuspended = true;
        };
        let unused = Buffer.alloc(0);
        for (const part of parts) {
          // What was not used is given again, as it is, with what came behind it.
          unused = Buffer.concat([unused, part]);
          for (;;) {
            const count = unused.length;
            unused = unused.subarray(recorder.protocol.receive(unused));
            if (!recorder.protocol.isSuspended || unused.length === count) break;
            assert.equal(recorder.protocol.receive(unused), 0, "nothing is read meanwhile");
            recorder.protocol.isSuspended = false;
          }
          recorder.protocol.isSuspended = false;
        }
        while (unused.length > 0 && recorder.protocol.isReading) {
          unused = unused.subarray(recorder.protocol.receive(unused));
          recorder.protocol.isSuspended = false;
        }
        assert.deepEqual(recorder.seen, expected.seen, name);
        assert.deepEqual(recorder.output(), answers, name);
      }
    });
  });
}

/** Texts that are wrong from a byte on, whatever comes behind; RFC 3629. */
const wrong: { name: string; digits: string; at: number }[] = [
  { name: "a continuation byte alone", digits: "61 80", at: 1 },
  { name: "ASCII behind a lead", digits: "c3 61", at: 1 },
  { name: "an overlong '/' of two bytes", digits: "c0 af", at: 0 },
  { name: "an overlong '/' of three bytes", digits: "e0 80 af", at: 1 },
  { name: "an overlong '/' of four bytes", digits: "f0 80 80 af", at: 1 },
  { name: "a surrogate", digits: "61 ed a0 80", at: 2 },
  { name: "U+110000", digits: "f4 90 80 80", at: 1 },
  { name: "five bytes", digits: "f8 88 80 80 80", at: 0 },
  { name: "FF", digits: "e8aa9e ff", at: 3 },
];
/** Texts that are wrong only because they end. */
const cut = ["c3", "e2 82", "f0 9f 98", "61 e8aa9e f0"];

describe("UTF-8 (RFC 6455 §8.1)", () => {
  for (const { name, digits, at } of wrong) {
    it(`${name}: refused at its byte ${at}, in every split and every fragmentation`, () => {
      const payload = hex(digits);
      const tail = Buffer.alloc(40, 0x61);
      for (const role of roles) {
        // One frame that goes on for long, byte by byte: the violation comes with the byte.
        const header = role === "server" ? 6 : 2;
        const bytes = bytesFor(role, [{ opcode: text, payload: Buffer.concat([payload, tail]) }]);
        const slow = new Recorder(role);
        for (let index = 0; index < header + at; index++) {
          slow.feed(bytes.subarray(index, index + 1));
        }
        assert.equal(slow.closeCode(), undefined, "not before");
        slow.feed(bytes.subarray(header + at, header + at + 1));
        assert.equal(slow.closeCode(), 1007);

        for (const split of splits(bytes)) {
          const recorder = new Recorder(role);
          for (const part of split.parts) recorder.feed(part);
          assert.deepEqual(recorder.seen, [violation(1007)], split.name);
        }
        // Cut into two fragments of a message that never ends.
        for (let place = 0; place <= payload.length; place++) {
          const recorder = new Recorder(role);
          recorder.feed(
            bytesFor(role, [
              { opcode: text, payload: payload.subarray(0, place), fin: false },
              { opcode: continuation, payload: payload.subarray(place), fin: false },
            ]),
          );
          assert.equal(recorder.closeCode(), 1007, `fragments cut at ${place}`);
        }
      }
    });
  }

  for (const digits of cut) {
    it(`<${digits}>, cut off: refused at the end of the message and not before`, () => {
      for (const role of roles) {
        for (const { name, parts } of splits(
          bytesFor(role, [{ opcode: text, payload: hex(digits) }]),
        )) {
          const recorder = new Recorder(role);
          for (const part of parts) recorder.feed(part);
          assert.deepEqual(recorder.seen, [violation(1007)], name);
        }
        const fragments = new Recorder(role);
        fragments.feed(bytesFor(role, [{ opcode: text, payload: hex(digits), fin: false }]));
        assert.equal(fragments.closeCode(), undefined);
        fragments.feed(bytesFor(role, [{ opcode: continuation }]));
        assert.equal(fragments.closeCode(), 1007);
      }
    });
  }

  it("is no matter of binary messages", () => {
    for (const { digits } of wrong) {
      const recorder = new Recorder("server");
      recorder.feed(bytesFor("server", [{ opcode: binary, payload: hex(digits) }]));
      assert.deepEqual(recorder.seen, [frame("binary", hex(digits))]);
    }
  });
});

describe("compressed messages (RFC 7692 §6)", () => {
  const rsv1 = 4;
  /** No UTF-8, as compressed text rarely is. */
  const squeezed = hex("f248cdc9c9ff00");

  for (const role of roles) {
    it(`are marked by RSV1 on their first frame and not read as text, by a ${role}`, () => {
      const frames: FrameSpec[] = [
        { opcode: text, payload: squeezed, rsv: rsv1, fin: false },
        { opcode: ping, payload: "between" },
        { opcode: continuation, payload: squeezed },
        { opcode: text, payload: "plain é" },
        { opcode: binary, payload: squeezed, rsv: rsv1 },
      ];
      for (const { name, parts } of splits(bytesFor(role, frames))) {
        const recorder = new Recorder(role, 1000, true);
        const marks: boolean[] = [];
        recorder.afterData = () => {
          // Once per frame: pieces of one that goes on are left in `part`.
          if (recorder.part.length === 0) marks.push(recorder.protocol.isCompressed);
        };
        for (const part of parts) recorder.feed(part);
        assert.deepEqual(
          recorder.seen,
          [
            frame("text", squeezed, false),
            frame("text", squeezed),
            frame("text", "plain é"),
            frame("binary", squeezed),
          ],
          name,
        );
        assert.deepEqual(marks, [true, true, false, true], name);
      }
    });

    it(`have RSV1 nowhere else, for a ${role}`, () => {
      const rows: FrameSpec[][] = [
        [{ opcode: ping, rsv: rsv1 }],
        [{ opcode: close, rsv: rsv1 }],
        [
          { opcode: text, payload: squeezed, rsv: rsv1, fin: false },
          { opcode: continuation, payload: squeezed, rsv: rsv1 },
        ],
        [{ opcode: text, payload: squeezed, rsv: rsv1 | 2 }],
      ];
      for (const frames of rows) {
        const recorder = new Recorder(role, 1000, true);
        recorder.feed(bytesFor(role, frames));
        assert.equal(recorder.closeCode(), 1002);
      }
    });
  }

  it("are sent with RSV1 on the first frame alone", () => {
    const { protocol } = new Recorder("server");
    protocol.sendData("text", squeezed, false, true);
    protocol.sendData("text", squeezed, true, true);
    protocol.sendData("text", "plain", true);
    const reader = new FrameReader();
    reader.push(Buffer.concat([protocol.takeOutput() ?? []].flat()));
    releaseSlab(true);
    assert.deepEqual([reader.read()?.rsv, reader.read()?.rsv, reader.read()?.rsv], [rsv1, 0, 0]);
  });
});

describe("pongs", () => {
  const pings = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ opcode: ping, payload: `${index}` }));

  it("answer the latest ping only while the peer does not read (§5.5.3)", () => {
    const recorder = new Recorder("server");
    recorder.protocol.isCongested = true;
    for (let round = 0; round < 100; round++) recorder.feed(bytesFor("server", pings(100)));
    assert.equal(recorder.protocol.outputSize, 0);
    recorder.protocol.isCongested = false;
    recorder.protocol.sendLatestPong();
    const answers = recorder.output();
    assert.deepEqual(
      answers.map(({ payload }) => payload.toString()),
      ["99"],
    );
    recorder.protocol.sendLatestPong();
    assert.deepEqual(recorder.output(), []);
  });

  it("keep a copy, not a view of the read buffer", () => {
    const recorder = new Recorder("server");
    recorder.protocol.isCongested = true;
    const chunk = bytesFor("server", [{ opcode: ping, payload: "kept" }]);
    recorder.protocol.receive(chunk);
    chunk.fill(0);
    recorder.protocol.sendLatestPong();
    assert.equal(recorder.output()[0]?.payload.toString(), "kept");
  });

  it("are not sent after our Close (§5.5.1)", () => {
    const recorder = new Recorder("server");
    recorder.protocol.isCongested = true;
    recorder.feed(bytesFor("server", pings(1)));
    recorder.protocol.isCongested = false;
    recorder.protocol.sendClose(1000, "");
    recorder.protocol.sendLatestPong();
    recorder.feed(bytesFor("server", pings(3)));
    assert.deepEqual(
      recorder.output().map(({ opcode: code }) => code),
      [close],
    );
  });
});

describe("sending", () => {
  for (const role of roles) {
    const peer = role === "server" ? "client" : "server";

    it(`a ${role} is understood by a ${peer}, at every split`, () => {
      const sender = new Recorder(role);
      sender.protocol.sendData("text", "whole 語", true);
      sender.protocol.sendData("binary", long, false);
      sender.protocol.sendPing(Buffer.from("ping"));
      // The type of a frame that continues a message is not looked at.
      sender.protocol.sendData("text", Buffer.from("more"), false);
      sender.protocol.sendPong(Buffer.from("pong"));
      sender.protocol.sendData("binary", "", true);
      sender.protocol.sendData("text", "", true);
      sender.protocol.sendClose(3000, "done");
      const bytes = Buffer.concat([sender.protocol.takeOutput() ?? []].flat());
      releaseSlab(true);
      for (const { name, parts } of splits(bytes)) {
        const receiver = new Recorder(peer);
        for (const part of parts) receiver.feed(part);
        assert.deepEqual(
          receiver.seen,
          [
            frame("text", "whole 語"),
            frame("binary", long, false),
            frame("binary", "more", false),
            { pong: Buffer.from("pong") },
            frame("binary", ""),
            frame("text", ""),
            closed(3000, "done"),
          ],
          name,
        );
        assert.deepEqual(
          receiver.output().map(({ payload }) => payload.toString()),
          ["ping"],
          name,
        );
      }
    });
  }

  it("closes once", () => {
    const { protocol } = new Recorder("server");
    protocol.sendClose(1001, "first");
    protocol.sendClose(1000, "second");
    assert.deepEqual(protocol.closeSent, { status: 1001, description: "first" });
    const chunks = [protocol.takeOutput() ?? []].flat();
    assert.deepEqual(Buffer.concat(chunks).subarray(2), closePayload(1001, "first"));
    releaseSlab(true);
  });

  it("sends no Close that may not be, and stays open then", () => {
    const recorder = new Recorder("server");
    for (const status of [0, 999, 1004, 1006, 1015, 2999, 5000, 1000.5]) {
      assert.throws(() => recorder.protocol.sendClose(status, ""), RangeError);
    }
    assert.throws(() => recorder.protocol.sendClose(1000, "x".repeat(124)), RangeError);
    assert.equal(recorder.protocol.closeSent, undefined);
    assert.deepEqual(recorder.output(), []);
    recorder.protocol.sendClose(1005, "");
    assert.equal(recorder.output()[0]?.payload.length, 0);
  });

  it("tells the peer what it did wrong, once, with an empty reason", () => {
    const recorder = new Recorder("server");
    recorder.feed(hex("81 05"));
    assert.deepEqual(recorder.output(), [], "the owner decides when");
    recorder.protocol.fail(recorder.violation as ViolationError);
    recorder.protocol.fail(recorder.violation as ViolationError);
    assert.deepEqual(
      recorder.output().map(({ opcode: code, payload }) => ({ code, payload })),
      [{ code: close, payload: closePayload(1002) }],
    );
    assert.equal(recorder.feed(bytesFor("server", [good])), 0);
    assert.deepEqual(recorder.seen, [violation(1002)]);
  });

  it("passes on errors of its owner's handlers, which are no violations", () => {
    const recorder = new Recorder("server");
    recorder.afterData = () => {
      throw new TypeError("a defect of the owner");
    };
    assert.throws(() => recorder.feed(bytesFor("server", [good])), TypeError);
    assert.equal(recorder.closeCode(), undefined);
  });
});

describe("memory", () => {
  it("keeps no view of a chunk between two calls", () => {
    const parts = [
      { opcode: ping, payload: "a ping that is cut" },
      { opcode: close, payload: closePayload(1000, "a reason that is cut") },
    ];
    const recorder = new Recorder("server");
    const bytes = bytesFor("server", parts);
    for (let at = 0; at < bytes.length; at += 5) {
      const chunk = Buffer.from(bytes.subarray(at, at + 5));
      recorder.protocol.receive(chunk);
      // Whoever owns the chunk reads into it again.
      chunk.fill(0xff);
    }
    assert.deepEqual(recorder.seen, [closed(1000, "a reason that is cut")]);
    assert.equal(recorder.output()[0]?.payload.toString(), "a ping that is cut");
  });
});
