import assert from "node:assert/strict";
import { opcode } from "../frames.js";
import { type Case, type CaseRow, type DeflateWish, number, type Peer } from "../peer.js";
import { exchange, messageSizes } from "./compression.js";
import { base64Of, jsonOf, noiseOf } from "./payloads.js";

const name = "permessage-deflate";
const windows = [9, 10, 11, 12, 13, 14, 15];
const { text } = opcode;

/** A block that repeats at a distance which a window of `bits` just reaches, or just misses. */
function distant(bits: number): Buffer {
  const block = noiseOf(2 ** bits - 262, bits);
  return Buffer.concat([block, block, block.subarray(0, 100)]);
}

/** Messages that use all of any window: an end with the wrong one is found out. */
async function useWindows(peer: Peer): Promise<void> {
  for (const bits of windows) await exchange(peer, "binary", distant(bits), 1);
  await exchange(peer, "text", jsonOf(40_000), 3);
  for (const bits of windows.toReversed()) await exchange(peer, "binary", distant(bits), 1);
  await peer.closeCleanly();
}

function agreed(parameters: string): CaseRow {
  return {
    title: parameters === "" ? "no parameters" : parameters,
    section: "RFC 7692 §7.1",
    deflate: { offer: [name, parameters].filter((part) => part !== "").join("; ") },
    run: useWindows,
  };
}

const windowRows: CaseRow[] = [
  ...windows.map((bits) => agreed(`server_max_window_bits=${bits}`)),
  agreed("server_max_window_bits"),
  ...windows.map((bits) => agreed(`client_max_window_bits=${bits}`)),
  agreed("client_max_window_bits"),
  ...windows.map((bits) =>
    agreed(`client_max_window_bits=${bits}; server_max_window_bits=${24 - bits}`),
  ),
];
// An offer without its value is RFC 7692 §7.1.2.2's for the client's window only.
const valueless = windowRows.findIndex(({ title }) => title === "server_max_window_bits");
windowRows[valueless] = {
  ...(windowRows[valueless] as CaseRow),
  title: "server_max_window_bits without a value, which it must have",
  section: "RFC 7692 §7.1.2.1",
  subject: "server",
  deflate: { offer: `${name}; server_max_window_bits`, outcome: "either", isMalformed: true },
  async run(peer) {
    await peer.send({ opcode: text, payload: "either way" });
    await peer.expectEcho("text", "either way");
    await peer.closeCleanly();
  },
};

const takeovers = ["", "server", "client", "server client"];

function takeoverParameters(sides: string): string[] {
  return sides
    .split(" ")
    .filter((side) => side !== "")
    .map((side) => `${side}_no_context_takeover`);
}

const takeoverRows: CaseRow[] = takeovers.flatMap((sides) =>
  ["", "9", "12", "15"].map((bits) =>
    agreed(
      [
        ...takeoverParameters(sides),
        ...(bits === ""
          ? []
          : [`server_max_window_bits=${bits}`, `client_max_window_bits=${bits}`]),
      ].join("; "),
    ),
  ),
);

/** The parameters of the public suite's group 13, each with all sizes of messages. */
const mixed: readonly string[] = [
  "client_max_window_bits",
  "server_no_context_takeover; client_max_window_bits",
  "server_max_window_bits=9; client_max_window_bits=9",
  "server_max_window_bits=15; client_max_window_bits=15",
  "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=9",
  "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15; client_max_window_bits=15",
];

const mixedRows: CaseRow[] = mixed.flatMap((parameters) =>
  messageSizes.map((size) => ({
    title: `${size} bytes, ${parameters}`,
    section: "RFC 7692 §7.1, §7.2",
    deflate: { offer: `${name}; ${parameters}` },
    async run(peer) {
      const count = size <= 4096 ? 12 : 3;
      for (let index = 0; index < count; index++) {
        await exchange(peer, "text", jsonOf(size, 1 + (index % 3)), 1);
      }
      await exchange(peer, "text", base64Of(size), 2);
      await peer.closeCleanly();
    },
  })),
);

/** The window goes from message to message where that was agreed on, and nowhere else. */
const rememberRows: CaseRow[] = [
  {
    title: "the client's compressor remembers, over 50 messages and uncompressed ones between",
    section: "RFC 7692 §7.1.1.2, §7.2.1",
    deflate: { offer: name },
    async run(peer) {
      for (let index = 0; index < 50; index++) {
        const payload = jsonOf(300 + index);
        await peer.send(peer.compressed("text", payload));
        await peer.send({ opcode: text, payload: `not in the window ${index}` });
        await peer.expectEcho("text", payload);
        await peer.expectEcho("text", `not in the window ${index}`);
      }
      await peer.closeCleanly();
    },
  },
  {
    title: "a reference to an earlier message where none is remembered",
    section: "RFC 7692 §7.1.1, §7.2.2",
    deflate: { offer: `${name}; client_no_context_takeover; server_no_context_takeover` },
    async run(peer) {
      await exchange(peer, "text", Buffer.from("Hello"), 1);
      // The second "Hello" of RFC 7692 §7.2.3.2: a copy of five bytes from five bytes before.
      await peer.send({ opcode: text, rsv: 4, payload: Buffer.from("f200110000", "hex") });
      await peer.expectFailure(1007);
    },
  },
  {
    title: "a compressed message that the window of earlier ones does not go into",
    section: "RFC 7692 §7.2.1",
    deflate: { offer: name },
    async run(peer) {
      const large = noiseOf(40_000);
      await exchange(peer, "binary", large, 1);
      await exchange(peer, "binary", large.subarray(-30_000), 2);
      await exchange(peer, "text", jsonOf(100_000), 2);
      await peer.closeCleanly();
    },
  },
];

/** What must come of offers that cannot be accepted: 101 without the extension, and no RSV1. */
function declined(title: string, wish: DeflateWish): CaseRow {
  return {
    title,
    section: "RFC 7692 §5, §7.1, RFC 6455 §9.1",
    subject: "server",
    deflate: { outcome: "declined", ...wish },
    async run(peer) {
      await peer.send({ opcode: text, payload: "uncompressed" });
      await peer.expectEcho("text", "uncompressed");
      if (peer.isCompressing) {
        await peer.closeCleanly();
        return;
      }
      await peer.send({ opcode: text, rsv: 4, payload: Buffer.from("f248cdc9c90700", "hex") });
      await peer.expectFailure(1002);
    },
  };
}

const bad = (parameters: string, isMalformed = false) =>
  declined(parameters, { offer: `${name}; ${parameters}`, isMalformed });

const declinedRows: CaseRow[] = [
  bad("unknown"),
  bad("unknown=1"),
  bad("__proto__"),
  bad("constructor=1"),
  bad("server_no_context_takeover=true"),
  bad("client_no_context_takeover=1"),
  bad("server_no_context_takeover; server_no_context_takeover"),
  bad("client_max_window_bits; client_max_window_bits"),
  bad("client_max_window_bits=10; client_max_window_bits=10"),
  ...["server", "client"].flatMap((side) =>
    ["0", "7", "16", "100", "-1", "09", "10.0", "1e1", "0x9", "ten"].map((value) =>
      bad(`${side}_max_window_bits=${value}`),
    ),
  ),
  bad("client_max_window_bits=", true),
  bad('client_max_window_bits=""', true),
  bad('client_max_window_bits="10', true),
  bad("=10", true),
  bad("", true),
  declined("a name that only begins like ours", { offer: `${name}X; client_max_window_bits` }),
  declined("another extension", { offer: "x-webkit-deflate-frame" }),
  declined("100 elements of another extension", {
    offer: Array.from({ length: 100 }, () => "x-none").join(", "),
  }),
  ...["server", "client"].map((side) =>
    // zlib's raw deflate has no such window: to decline it is allowed, to agree as well.
    declined(`${side}_max_window_bits=8`, {
      offer: `${name}; ${side}_max_window_bits=8`,
      outcome: "either",
    }),
  ),
];

/** The first offer that can be accepted wins (§5.1 names it the client's preference). */
const chosenRows: CaseRow[] = (
  [
    ["an offer that cannot be accepted, then one that can", `${name}; unknown, ${name}`],
    [
      "a window that does not exist, then one that does",
      `${name}; client_max_window_bits=16, ${name}; client_max_window_bits=13`,
    ],
    ["another extension first", `x-other; a=b, ${name}`],
    ["another extension behind", `${name}, x-other; a="b"`],
    ["spaces and tabs", ` ${name} ;  client_max_window_bits ;\tserver_no_context_takeover `],
    ["a quoted value", `${name}; server_max_window_bits="10"`],
    ["two offers, both good", `${name}; server_no_context_takeover, ${name}`],
  ] as const
).map(([title, offer]) => ({
  title,
  section: "RFC 7692 §5, §7.1, RFC 6455 §9.1",
  subject: "server",
  deflate: { offer },
  async run(peer) {
    assert.ok(peer.isCompressing);
    await exchange(peer, "text", jsonOf(1000), 5);
    await peer.closeCleanly();
  },
}));

export function compressionOffers(): Case[] {
  return [
    ...number("13.1", windowRows),
    ...number("13.2", takeoverRows),
    ...number("13.3", mixedRows),
    ...number("13.4", rememberRows),
    ...number("13.5", declinedRows),
    ...number("13.6", chosenRows),
  ];
}
