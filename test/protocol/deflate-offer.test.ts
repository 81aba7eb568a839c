import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  acceptDeflate,
  type DeflateWishes,
  offerDeflate,
  parseExtensions,
  readDeflateAnswer,
} from "#dist/protocol/deflate-offer.js";

/** What ASP.NET's default options wish: takeover wherever the client does not rule it out. */
const takeover: DeflateWishes = {
  serverContextTakeover: true,
  clientContextTakeover: true,
  serverMaxWindowBits: 15,
  clientMaxWindowBits: 15,
};
const lean: DeflateWishes = {
  ...takeover,
  serverContextTakeover: false,
  clientContextTakeover: false,
};
const lessServer: DeflateWishes = {
  ...takeover,
  serverContextTakeover: false,
  serverMaxWindowBits: 14,
};

describe("the server's answer", () => {
  const server14 = "server_no_context_takeover; server_max_window_bits=14";
  const rows: [offer: string, byDefault: string, with14: string][] = [
    ["", "", server14],
    ["server_no_context_takeover", "server_no_context_takeover", server14],
    [
      "client_no_context_takeover",
      "client_no_context_takeover",
      `client_no_context_takeover; ${server14}`,
    ],
    [
      "client_max_window_bits=9",
      "client_max_window_bits=9",
      `client_max_window_bits=9; ${server14}`,
    ],
    [
      'client_max_window_bits="9"',
      "client_max_window_bits=9",
      `client_max_window_bits=9; ${server14}`,
    ],
    [
      "client_max_window_bits",
      "client_max_window_bits=15",
      `client_max_window_bits=15; ${server14}`,
    ],
    ["server_max_window_bits", "server_max_window_bits=15", server14],
    [
      "server_max_window_bits=10",
      "server_max_window_bits=10",
      "server_no_context_takeover; server_max_window_bits=10",
    ],
    [
      "client_max_window_bits=12; client_no_context_takeover",
      "client_max_window_bits=12; client_no_context_takeover",
      `client_max_window_bits=12; client_no_context_takeover; ${server14}`,
    ],
  ];
  const join = (parameters: string) => `permessage-deflate${parameters && `; ${parameters}`}`;
  for (const [offer, byDefault, with14] of rows) {
    it(`to ${join(offer)}`, () => {
      assert.equal(acceptDeflate(join(offer), takeover)?.header, join(byDefault));
      assert.equal(acceptDeflate(join(offer), lessServer)?.header, join(with14));
    });
  }

  it("asks for no takeover by default, offered or not", () => {
    const answer = acceptDeflate("permessage-deflate; client_max_window_bits", lean);
    assert.equal(
      answer?.header,
      "permessage-deflate; client_max_window_bits=15; client_no_context_takeover; server_no_context_takeover",
    );
    assert.deepEqual(answer?.agreement, {
      serverNoContextTakeover: true,
      clientNoContextTakeover: true,
      serverMaxWindowBits: 15,
      clientMaxWindowBits: 15,
    });
  });

  it("does not ask a client for a smaller window that did not offer it", () => {
    const answer = acceptDeflate("permessage-deflate", { ...takeover, clientMaxWindowBits: 10 });
    assert.equal(answer?.header, "permessage-deflate");
    assert.equal(answer?.agreement.clientMaxWindowBits, 15);
  });

  const declined = [
    "permessage-deflate; client_max_window_bits=8",
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; client_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=0",
    "permessage-deflate; server_max_window_bits=-10",
    "permessage-deflate; server_max_window_bits=010",
    "permessage-deflate; server_max_window_bits=1e1",
    "permessage-deflate; server_max_window_bits=99999999999999999999",
    "permessage-deflate; server_max_window_bits=",
    'permessage-deflate; server_max_window_bits=""',
    'permessage-deflate; server_max_window_bits="10',
    'permessage-deflate; server_max_window_bits=10"',
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; client_no_context_takeover=true",
    "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
    "permessage-deflate; unknown",
    "permessage-deflate; __proto__=1",
    "permessage-deflate; constructor",
    "permessage-deflateX",
    "x-webkit-deflate-frame",
    "permessage-bzip2",
    ";",
    "permessage-deflate;",
    "permessage-deflate; =5",
    "permessage-deflate server_max_window_bits",
    "permessage deflate",
    `permessage-deflate; ${"a".repeat(5_000)}`,
    Array.from({ length: 40 }, () => "x").join(","),
    "\u00e9",
  ];
  for (const offer of declined) {
    it(`declines ${offer.slice(0, 80)}`, () => {
      assert.equal(acceptDeflate(offer, takeover), undefined);
    });
  }

  it("goes by the first offer that is acceptable", () => {
    const wishes = { ...takeover, serverMaxWindowBits: 13 };
    const rows = [
      [
        "permessage-deflate; server_max_window_bits=14, permessage-deflate; server_max_window_bits=13",
        "permessage-deflate; server_max_window_bits=13",
      ],
      [
        "permessage-deflate; client_max_window_bits=8, permessage-deflate; client_max_window_bits=13",
        "permessage-deflate; client_max_window_bits=13; server_max_window_bits=13",
      ],
      [
        "other, , permessage-deflate; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=13",
      ],
    ] as const;
    for (const [offer, answer] of rows) assert.equal(acceptDeflate(offer, wishes)?.header, answer);
  });

  it("is none to a request without the header", () => {
    assert.equal(acceptDeflate(undefined, takeover), undefined);
    assert.equal(acceptDeflate("", takeover), undefined);
  });
});

describe("the client's offer and the answer to it", () => {
  it("asks for what is wished", () => {
    assert.equal(
      offerDeflate(lean),
      "permessage-deflate; client_max_window_bits; client_no_context_takeover; server_no_context_takeover",
    );
    assert.equal(offerDeflate(takeover), "permessage-deflate; client_max_window_bits");
    assert.equal(
      offerDeflate({ ...takeover, clientMaxWindowBits: 10, serverMaxWindowBits: 12 }),
      "permessage-deflate; client_max_window_bits=10; server_max_window_bits=12",
    );
  });

  it("takes an answer that keeps to the offer", () => {
    assert.deepEqual(readDeflateAnswer("permessage-deflate", takeover), {
      serverNoContextTakeover: false,
      clientNoContextTakeover: false,
      serverMaxWindowBits: 15,
      clientMaxWindowBits: 15,
    });
    assert.deepEqual(
      readDeflateAnswer(
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=9; server_max_window_bits=11",
        lean,
      ),
      {
        serverNoContextTakeover: true,
        clientNoContextTakeover: true,
        serverMaxWindowBits: 11,
        clientMaxWindowBits: 9,
      },
    );
  });

  const refused: [answer: string, wishes: DeflateWishes][] = [
    ["permessage-deflate", lean],
    ["permessage-deflate, permessage-deflate", takeover],
    ["other", takeover],
    ["permessage-deflate; client_max_window_bits", takeover],
    ["permessage-deflate; server_max_window_bits", takeover],
    ["permessage-deflate; server_max_window_bits=8", takeover],
    ["permessage-deflate; server_max_window_bits=16", takeover],
    ["permessage-deflate; client_max_window_bits=11", { ...takeover, clientMaxWindowBits: 10 }],
    ["permessage-deflate; server_max_window_bits=13", { ...takeover, serverMaxWindowBits: 12 }],
    ["permessage-deflate", { ...takeover, serverMaxWindowBits: 12 }],
    ["permessage-deflate; unknown", takeover],
    ["permessage-deflate; server_no_context_takeover; server_no_context_takeover", takeover],
    ["", takeover],
  ];
  for (const [answer, wishes] of refused) {
    it(`refuses ${answer || "(nothing)"}`, () => {
      assert.equal(readDeflateAnswer(answer, wishes), undefined);
    });
  }
});

describe("parseExtensions", () => {
  it("reads names, parameters, quoted values and white space", () => {
    const elements = parseExtensions('a;  b ; c = d;e="f\\g" ,\tx');
    assert.deepEqual(
      elements?.map(({ name, parameters }) => [name, [...parameters]]),
      [
        [
          "a",
          [
            ["b", ""],
            ["c", "d"],
            ["e", "fg"],
          ],
        ],
        ["x", []],
      ],
    );
  });

  it("takes linear time for what could make a matcher backtrack", () => {
    const started = performance.now();
    for (const text of ['a; b="', `a; b="${"\\".repeat(4_000)}`, `a${" ;".repeat(2_000)}`]) {
      assert.equal(parseExtensions(text), undefined);
    }
    assert.ok(performance.now() - started < 1_000);
  });
});
